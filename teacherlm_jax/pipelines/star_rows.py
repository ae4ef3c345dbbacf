"""Rows of STaR as pure functions: prompts without and with the answer, and what is kept.

The model always reads a prompt of `annotate`, the teacher's own form, and writes a chain of thought
that ends in the answer. In an attempt, the answer in the prompt is masked:

    Q: … (A) … (B) … A: The answer is (?). Let's think step by step.

A rationalization has the right answer in its place, which is the hint:

    Q: … (A) … (B) … A: The answer is (B). Let's think step by step.

The two differ only in that place, so a row without its hint is the same row with the mask.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.annotation.gates import gates as gate_checks
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import Sample, SampleError, to_row

AUTHOR = "star"  # of the explanations that are kept
FILTERED, RATIONALIZED = "filtered", "rationalized"  # origins of a kept explanation
KIND = "cot"

_CONCLUSION = "The answer is "
_MASK = "?"
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def masked(sample: Sample) -> Sample:
    """Return a sample whose prompt asks for explanation and answer: the answer is not in it.

    The options become part of the question, because the mask is none of them.
    """
    options = f" {prompts.options_text(sample)}" if sample.options else ""
    return Sample(
        id=sample.id,
        question=f"{sample.question}{options}",
        answer=f"{_CONCLUSION}({_MASK})." if sample.options else _MASK,
        subject=sample.subject,
        source=sample.source,
    )


def hinted(sample: Sample) -> Sample:
    """Return a sample whose prompt asks to explain the given answer."""
    return dataclasses.replace(sample, explanations={}, annotations={})


def conclude(sample: Sample, explanation: str) -> str:
    """Return the text that a model writes for an explanation that leads to the sample's answer.

    It ends in the answer, which is not added to an explanation that ends in it already.
    """
    rationale, answer = divide(explanation)
    if not _is_own(sample, answer):
        rationale = explanation.strip()
    return f"{rationale} {_CONCLUSION}{sample.answer.strip().removesuffix('.')}."


def require_conclusive(sample: Sample, author: str) -> None:
    """Raise SampleError if a chain of thought of the seed set cannot end in the sample's answer.

    It may state the answer at its end, and none before. A model that learns from other texts writes
    some that `judge` does not keep.
    """
    explanation = sample.explanation(KIND, author)
    if explanation is None:
        return
    rationale, answer = divide(explanation)
    if answer and not _is_own(sample, answer):
        raise SampleError(f"its chain of thought ends in {_CONCLUSION + answer!r}, another answer")
    if _CONCLUSION in rationale:
        raise SampleError("its chain of thought states an answer before its end")
    if not rationale:
        raise SampleError("its chain of thought is only the answer")


def _is_own(sample: Sample, answer: str) -> bool:
    """Return whether an answer is the sample's, also by its letter alone or its option's text."""
    if not sample.options or not answer:
        return is_right(sample, answer)
    own = (sample.answer, sample.answer.strip("()"), sample.options[sample.answer_index])
    return _plain(answer) in map(_plain, own)


def divide(text: str) -> tuple[str, str]:
    """Return the rationale and the answer of a text that a model wrote; "" for a missing answer."""
    rationale, conclusion, answer = text.rpartition(_CONCLUSION)
    if not conclusion:
        return text.strip(), ""
    return rationale.strip(), answer.strip().removesuffix(".")


def is_right(sample: Sample, answer: str) -> bool:
    """Return whether an answer is the sample's: its letter, or the same text or number."""
    if sample.options:
        return answer == sample.answer
    return bool(answer) and _plain(answer) == _plain(sample.answer)


def _plain(answer: str) -> str | float:
    """Return an answer as it is compared: a number by its value, a text without case and spaces."""
    text = " ".join(answer.split()).casefold().removesuffix(".")
    number = text.strip("$€£%").replace(",", "")
    return float(number) if _NUMBER.fullmatch(number) else text


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Verdict on one text, which decides whether it is kept.

    Attributes:
        rationale: the text without its conclusion.
        right: whether the text ends in the right answer.
        gates: verdict of each gate on the rationale, if it is right.
        reason: reason for not keeping it; empty if it is kept.
    """

    rationale: str
    right: bool
    gates: Mapping[str, bool]
    reason: str

    @property
    def kept(self) -> bool:
        """True if the rationale is kept."""
        return not self.reason


def judge(sample: Sample, text: str, finish_reason: str, gates: Sequence[str]) -> Judgement:
    """Judge a text that a model wrote for a question, of which `sample` has the right answer.

    It is kept if it ends in the right answer, states an answer nowhere else, and passes all gates.
    A text that states the answer before its end repeats the hint, or does not lead to its answer.
    """
    rationale, answer = divide(text)
    right = finish_reason != "length" and is_right(sample, answer)
    if finish_reason == "length":
        return Judgement(rationale, right, {}, "truncated")
    if not answer:
        return Judgement(rationale, right, {}, "no answer")
    if not right:
        return Judgement(rationale, right, {}, "wrong answer")
    if _CONCLUSION in rationale:
        return Judgement(rationale, right, {}, "answer before the end")
    explained = GateInput(sample=sample, kind=KIND, text=rationale, finish_reason=finish_reason)
    verdicts = gate_checks.verdicts(gates, explained)
    failed = next((f"gate {name}" for name, passed in verdicts.items() if not passed), "")
    return Judgement(rationale, right, verdicts, failed)


def kept_row(
    sample: Sample, judgement: Judgement, origin: str, round: int, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a sample with its kept rationale, as a row in the sample format.

    Args:
        sample: the question.
        judgement: a judgement that keeps the rationale.
        origin: FILTERED or RATIONALIZED.
        round: number of the round.
        provenance: further values to record, such as the digest of the model.
    """
    annotation = {
        "author": AUTHOR,
        "gates": dict(judgement.gates),
        "origin": origin,
        "round": round,
        **provenance,
    }
    explained = {KIND: {AUTHOR: judgement.rationale}}
    return to_row(
        dataclasses.replace(sample, explanations=explained, annotations={KIND: annotation})
    )


def training_rows(
    seed_set: Iterable[Sample], author: str, kept: Iterable[Sample]
) -> Iterator[dict[str, Any]]:
    """Yield the training examples of a round as rows in the sample format, explained by AUTHOR.

    Each sample of the seed set is there twice, with the answer masked and given, so the model
    learns to write attempts and rationalizations. Kept samples are there with the answer masked
    only: nothing tells how their explanations were found.
    """
    for sample in seed_set:
        rationale = sample.explanation(KIND, author)
        if rationale is not None:
            text = conclude(sample, rationale)
            yield _example(masked(sample), f"seed/{sample.id}", text)
            yield _example(hinted(sample), f"hint/{sample.id}", text)
    for sample in kept:
        rationale = sample.explanation(KIND, AUTHOR)
        assert rationale is not None  # `kept_row` wrote it
        yield _example(masked(sample), f"kept/{sample.id}", conclude(sample, rationale))


def _example(sample: Sample, id: str, text: str) -> dict[str, Any]:
    return to_row(dataclasses.replace(sample, id=id, explanations={KIND: {AUTHOR: text}}))


def counts(judgements: Iterable[Judgement]) -> dict[str, Any]:
    """Return the number of judgements, of right and of kept ones, and of the others by reason."""
    every = list(judgements)
    reasons = Counter(judgement.reason for judgement in every if judgement.reason)
    return {
        "texts": len(every),
        "right": sum(judgement.right for judgement in every),
        "kept": sum(judgement.kept for judgement in every),
        "not_kept": dict(sorted(reasons.items())),
    }
