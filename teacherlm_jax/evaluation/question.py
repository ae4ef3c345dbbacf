"""Questions for rank classification, and how samples are turned into them.

Options are scored by their letters, after `Q: … (A) … (B) … A: The answer is (`, or by their texts,
after `Q: … A:`. Both are the forms of this package's training texts.

The style "authors" copies the evaluation code of the TeacherLM authors (arXiv 2310.19019):

- no special token begins a prompt;
- double spaces are kept in ECQA and MMLU prompts;
- ECQA: prompts begin with `Q: Q: `, and of two equal options the later one is the right one;
- MMLU: white space around a question is kept, line breaks become spaces, and a question whose last
  character is none of `. , ? ! "` gets a full stop.
"""

import dataclasses
import hashlib
import json

from teacherlm_jax.config import BenchmarkConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import LETTERS, SENTENCE_ENDS, Sample

_KEEP_DOUBLE_SPACES = ("ecqa", "mmlu")  # formats, in the style "authors"
_UNCONDITIONAL = {"letters": "A: The answer is (", "texts": "A:"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """One question for rank classification.

    Attributes:
        context: text up to where the options begin; tokenized separately from them.
        options: texts to score.
        gold: index of the right option; None if it is unknown.
        id: id of the sample.
        subject: subject of the sample; empty if it has none.
        begin: whether the ids that begin every text of the vocabulary precede the context.
        unconditional: context without a question, for the reduction "unconditional".
        preamble: beginning of the context that worked examples come after, such as the sentence
            that names the subject.
        asked: the question itself, without options and prompt.
        digest: digest of question, options and right option, whatever the prompt.
    """

    context: str
    options: tuple[str, ...]
    gold: int | None = None
    id: str = ""
    subject: str = ""
    begin: bool = True
    unconditional: str = "A:"
    preamble: str = ""
    asked: str = ""
    digest: str = ""

    @classmethod
    def from_sample(
        cls, sample: Sample, config: BenchmarkConfig, raw_question: str | None = None
    ) -> "Question":
        """Return a sample that has options as a question in the form that `config` describes.

        Args:
            sample: sample with options.
            config: style, scored part of the options, and whether the subject is named.
            raw_question: text of the question as published, with the white space around it, which
                the style "authors" keeps on MMLU; None: that of the sample.
        """
        gold, options = sample.answer_index, tuple(LETTERS[: len(sample.options)])
        if config.style == "authors":
            context = _authors_context(sample, config, raw_question)
            if config.format == "ecqa":
                gold = _last_equal(sample.options, gold)
        elif config.score == "texts":
            open_question = dataclasses.replace(sample, options=())
            context = prompts.question_prompt(open_question, config.subject_prefix)
            options = tuple(f" {option.strip()}" for option in sample.options)
            gold = options.index(options[gold])  # equal options have equal scores: the first wins
        else:
            context = prompts.question_prompt(sample, config.subject_prefix)
        preamble = f"{prompts.subject_sentence(sample.subject)} "
        return cls(
            context=context,
            options=options,
            gold=gold,
            id=sample.id,
            subject=sample.subject,
            begin=config.style != "authors",
            unconditional=config.unconditional_prompt or _UNCONDITIONAL[config.score],
            preamble=preamble if context.startswith(preamble) else "",
            asked=sample.question,
            digest=_digest(sample),
        )


def _digest(sample: Sample) -> str:
    content = json.dumps([sample.question, sample.options, sample.answer])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _last_equal(options: tuple[str, ...], index: int) -> int:
    return max(other for other, option in enumerate(options) if option == options[index])


def _authors_context(sample: Sample, config: BenchmarkConfig, raw_question: str | None) -> str:
    with_subject = config.subject_prefix or config.format == "mmlu"
    if config.format not in _KEEP_DOUBLE_SPACES:
        return prompts.question_prompt(sample, with_subject)
    stem = sample.question
    if config.format == "ecqa":
        stem = f"Q: {stem}"
    elif raw_question is not None:
        stem = authors_mmlu_question(raw_question)
    text = f"Q: {stem} {prompts.options_text(sample)} A: The answer is ("
    if with_subject and sample.subject:
        return f"{prompts.subject_sentence(sample.subject)} {text}"
    return text


def authors_mmlu_question(question: str) -> str:
    """Return an MMLU question as the authors' code writes it; see the module's docstring."""
    line = question.replace("\n", " ")
    return line if line.endswith(SENTENCE_ENDS) else f"{line}."
