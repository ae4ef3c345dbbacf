"""Few-shot prompts: worked examples of a question's subject before the question."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence

from teacherlm_jax.data.sample import Sample
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.sources.duplicates import comparable

_BETWEEN = "\n\n"


@dataclasses.dataclass(frozen=True)
class _Example:
    """A worked example: its text with the answer, and its question in comparable form."""

    text: str
    key: tuple[str, ...]


class WorkedExamples:
    """Worked examples by subject."""

    def __init__(self, examples: Sequence[tuple[Sample, Question]], shots: int, source: str):
        """Prepare the texts of all examples.

        Args:
            examples: samples, and the questions that a benchmark makes of them.
            shots: number of examples before each question.
            source: the benchmark and its file of examples, for messages.
        """
        self._shots, self._source = shots, source
        self._by_subject: Mapping[str, list[_Example]] = defaultdict(list)
        for sample, question in examples:
            example = _Example(_answered(question), comparable(sample))
            self._by_subject[sample.subject].append(example)
        self.left_out = 0

    def before(self, sample: Sample, question: Question) -> Question:
        """Return the question after the first examples of its subject.

        An example that is the question itself is left out and counted in `left_out`. Raises
        ValueError with the reason if there are too few examples.
        """
        available, key = self._by_subject.get(sample.subject, []), comparable(sample)
        chosen = [example.text for example in available if example.key != key][: self._shots]
        self.left_out += any(example.key == key for example in available[: self._shots])
        if len(chosen) < self._shots:
            raise ValueError(_too_few(sample, len(chosen), self._shots, self._source))
        asked = question.context.removeprefix(question.preamble)
        context = question.preamble + _BETWEEN.join([*chosen, asked])
        return dataclasses.replace(question, context=context)


def _too_few(sample: Sample, found: int, shots: int, source: str) -> str:
    subject = f"of the subject {sample.subject!r} " if sample.subject else ""
    return (
        f"{source}: {found} worked examples {subject}for the question {sample.id}, expected "
        f"{shots}; lower shots to {found}, or add rows"
    )


def _answered(question: Question) -> str:
    """Return a question with its right answer, as in training texts."""
    if question.gold is None:
        raise ValueError(f"question {question.id!r} has no gold option")
    asked = question.context.removeprefix(question.preamble)
    option = question.options[question.gold]
    return f"{asked}{option})." if asked.endswith("(") else f"{asked}{option}"
