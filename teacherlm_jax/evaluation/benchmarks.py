"""Benchmarks as questions with a context and option texts, ready to be scored.

Both styles score the bare letter of an option after `… A: The answer is (`. The style `clean` asks
as this package's training texts do. `authors` asks as the TeacherLM authors' evaluation code does
(arXiv 2310.19019): their ECQA prompts begin with `Q: Q: `, their ECQA and MMLU prompts keep double
spaces, and where two options of an ECQA question read the same, the later one is the right one. Of
white space at the ends of an MMLU question, which they keep, the samples know nothing.
"""

import dataclasses

from teacherlm_jax.config import BenchmarkConfig, SourceConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import LETTERS, Sample, SampleError
from teacherlm_jax.sources import reading
from teacherlm_jax.storage.refused_rows import RefusedRows

_NOT_CLEANED = ("ecqa", "mmlu")  # sets whose double spaces the authors left in


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """One question for rank classification.

    Attributes:
        id: of the sample.
        subject: of the sample; empty when it has none.
        context: text up to where the option starts; tokenised apart from the options.
        options: texts to be scored, one an option.
        gold: index of the right one.
    """

    id: str
    subject: str
    context: str
    options: tuple[str, ...]
    gold: int


def question(sample: Sample, config: BenchmarkConfig) -> Question:
    """A sample with options as a question in the style of `config`."""
    if config.style == "authors":
        context, gold = _authors_context(sample, config), _authors_gold(sample, config)
    else:
        context = prompts.question_prompt(sample, config.subject_prefix)
        gold = sample.answer_index
    return Question(
        id=sample.id,
        subject=sample.subject,
        context=context,
        options=tuple(LETTERS[: len(sample.options)]),
        gold=gold,
    )


def _authors_gold(sample: Sample, config: BenchmarkConfig) -> int:
    if config.format != "ecqa":
        return sample.answer_index
    answer = sample.options[sample.answer_index]
    return max(index for index, option in enumerate(sample.options) if option == answer)


def _authors_context(sample: Sample, config: BenchmarkConfig) -> str:
    stem = f"Q: {sample.question}" if config.format == "ecqa" else sample.question
    with_prefix = config.subject_prefix or config.format == "mmlu"
    if config.format not in _NOT_CLEANED:
        return prompts.question_prompt(sample, with_prefix)
    text = f"Q: {stem} {prompts.options_text(sample)} A: The answer is ("
    if with_prefix and sample.subject:
        return f"{prompts.subject_sentence(sample.subject)} {text}"
    return text


def read(config: BenchmarkConfig, root: str, refused: RefusedRows) -> list[Question]:
    """Questions of one benchmark.

    Rows that make no sample, and samples without options, go to `refused`. Raises UserError when
    nothing is left.
    """
    source = SourceConfig(config.name, config.path, config.format, limit=config.limit)
    samples = reading.read_samples(source, root, refused, usable=_require_options)
    return [question(sample, config) for sample in samples]


def _require_options(sample: Sample) -> None:
    if not sample.options:
        raise SampleError("no options to rank")
