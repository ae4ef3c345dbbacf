"""Prompts of TeacherLM and the forms of its training texts.

A text consists of pieces that are tokenized separately. The boundaries are the same in training and
at inference, so a model sees exactly the tokens that it was trained on. Wording and clean-up follow
the authors' public code (TeacherLM, arXiv 2310.19019).
"""

import dataclasses
import hashlib
import itertools

from teacherlm_jax.data.sample import KINDS, LETTERS, Sample

PROMPT_VERSION = "1"  # increases when a text below changes; annotations record it

TRIGGERS = {
    "cot": "Let's think step by step.",
    "fundamental": "The fundamental of this question is:",
    "mistake": "The common mistakes are:",
}

FORMS: dict[str, tuple[str, ...]] = {
    "text": (),
    "C": ("cot",),
    "M": ("mistake",),
    "F": ("fundamental",),
    "CM": ("cot", "mistake"),
    "CMF": ("cot", "mistake", "fundamental"),
    "FCM": ("fundamental", "cot", "mistake"),
    "shuffle": KINDS,  # in an order that is drawn per sample
}

_ORDERS = tuple(itertools.permutations(KINDS))


class MissingExplanation(Exception):
    """The sample lacks an explanation that the form needs; the message is the counted reason."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a training text; `role` is question, answer, trigger or explanation.

    What the template adds after the answer (closing bracket, triggers) has the role trigger. `kind`
    is the kind of an explanation, one of `sample.KINDS`, and empty otherwise.
    """

    text: str
    role: str
    kind: str = ""


def clean(text: str) -> str:
    """Apply the authors' clean-up: one pass over double spaces; strip a text that ends in one."""
    text = text.replace("  ", " ")
    return text.strip() if text.endswith(" ") else text


def question_prompt(sample: Sample, subject_prefix: bool = False) -> str:
    """Return the prompt of a question, up to its answer.

    `Q: … (A) … (B) … A: The answer is (` with options, `Q: … A:` without. With `subject_prefix`,
    samples that have a subject begin with the sentence that names it.
    """
    prefix = f"{subject_sentence(sample.subject)} " if subject_prefix and sample.subject else ""
    if not sample.options:
        return clean(f"{prefix}Q: {sample.question} A:")
    return clean(f"{prefix}Q: {sample.question} {options_text(sample)} A: The answer is (")


def options_text(sample: Sample) -> str:
    """Return the options with letters, `(A) … (B) …`; empty without options."""
    return " ".join(
        f"({letter}) {option}" for letter, option in zip(LETTERS, sample.options, strict=False)
    )


def subject_sentence(subject: str) -> str:
    """Return the sentence that names a subject before a question."""
    return f"The following are multiple choice questions (with answers) about {subject}."


def explanation_pieces(
    sample: Sample, kind: str, subject_prefix: bool = False
) -> tuple[Piece, ...]:
    """Return the teacher's prompt for one kind, as in training: question, gold answer, trigger."""
    return (*_question_and_answer(sample, subject_prefix), _trigger(kind))


def pieces(
    sample: Sample, form: str, author: str, *, subject_prefix: bool = False, seed: int = 0
) -> tuple[Piece, ...]:
    """Return the training text of a sample in a form, with the explanations of an author.

    The whole text is the concatenation of the pieces. `form` is a key of FORMS; the order of
    "shuffle" depends on `seed` and the id of the sample. Raises MissingExplanation if the sample
    lacks an explanation by `author` that the form needs.
    """
    text = list(_question_and_answer(sample, subject_prefix))
    for kind in _shuffled(sample.id, seed) if form == "shuffle" else FORMS[form]:
        explanation = sample.explanation(kind, author)
        if explanation is None:
            raise MissingExplanation(f"no {kind} by {author}")
        text += (_trigger(kind), Piece(f" {explanation.strip()}", "explanation", kind))
    return tuple(text)


def _question_and_answer(sample: Sample, subject_prefix: bool) -> tuple[Piece, ...]:
    question = Piece(question_prompt(sample, subject_prefix), "question")
    if sample.options:
        return question, Piece(sample.answer[1], "answer"), Piece(").", "trigger")
    return question, Piece(f" {sample.answer.strip()}", "answer")


def _trigger(kind: str) -> Piece:
    return Piece(f" {TRIGGERS[kind]}", "trigger")


def _shuffled(sample_id: str, seed: int) -> tuple[str, ...]:
    """Return one of the six orders, drawn uniformly by the seed and the id of the sample."""
    digest = hashlib.sha256(f"{seed}\n{sample_id}".encode()).digest()
    return _ORDERS[int.from_bytes(digest) % len(_ORDERS)]
