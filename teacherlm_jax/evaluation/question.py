"""Questions for rank classification, and how samples are turned into them.

Every option is scored by its letter, after `… A: The answer is (`. The style "clean" asks as the
training texts of this package do. The style "authors" asks as the evaluation code of the TeacherLM
authors does (arXiv 2310.19019): ECQA prompts begin with `Q: Q: `, ECQA and MMLU prompts keep double
spaces, and of two equal options of an ECQA question, the later one is the right one.
"""

import dataclasses

from teacherlm_jax.config import BenchmarkConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import LETTERS, Sample

_KEEP_DOUBLE_SPACES = ("ecqa", "mmlu")  # formats, in the style "authors"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """One question for rank classification.

    Attributes:
        id: id of the sample.
        subject: subject of the sample; empty if it has none.
        context: text up to where the options begin; tokenized separately from them.
        options: texts to score.
        gold: index of the right option.
    """

    id: str
    subject: str
    context: str
    options: tuple[str, ...]
    gold: int

    @classmethod
    def from_sample(cls, sample: Sample, config: BenchmarkConfig) -> "Question":
        """Return a sample that has options as a question in the style of `config`."""
        if config.style == "authors":
            context, gold = _authors_context(sample, config), _authors_gold(sample, config)
        else:
            context = prompts.question_prompt(sample, config.subject_prefix)
            gold = sample.answer_index
        return cls(
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
    with_subject = config.subject_prefix or config.format == "mmlu"
    if config.format not in _KEEP_DOUBLE_SPACES:
        return prompts.question_prompt(sample, with_subject)
    stem = f"Q: {sample.question}" if config.format == "ecqa" else sample.question
    text = f"Q: {stem} {prompts.options_text(sample)} A: The answer is ("
    if with_subject and sample.subject:
        return f"{prompts.subject_sentence(sample.subject)} {text}"
    return text
