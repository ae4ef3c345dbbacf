"""Questions of benchmarks that occur in the prepared data that a model was trained on."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.data import packing, prepared
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.evaluation import rank
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.rank import Prediction
from teacherlm_jax.sources.shared_words import QuestionWords, SharedWords, TrainingText

_ROWS_PER_LINE = 100_000  # rows of training data between two lines of progress


@dataclasses.dataclass(frozen=True)
class Occurrence:
    """A question in the training data.

    Attributes:
        shared: the shared words.
        mixture: name of the mixture.
        row: number of the packed row.
    """

    shared: SharedWords
    mixture: str
    row: int


@dataclasses.dataclass(frozen=True)
class Contamination:
    """The questions of one benchmark that occur in training data.

    Attributes:
        occurrences: their first occurrence, by index of the question.
        not_compared: number of questions without enough words of their own to compare.
    """

    occurrences: Mapping[int, Occurrence]
    not_compared: int

    def rows(self, questions: Sequence[Question]) -> Iterator[dict[str, Any]]:
        """Yield a JSON object for each question that was found."""
        for index, occurrence in sorted(self.occurrences.items()):
            yield {
                "id": questions[index].id,
                "match": "question" if occurrence.shared.whole else "13 words",
                "words": occurrence.shared.text,
                "mixture": occurrence.mixture,
                "row": occurrence.row,
            }

    def summary(self, predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Return the number of questions that were found, and the accuracy with and without them.

        `clean` is `rank.summarize` of the questions that were not found, without subjects and
        ties; null if all were found. `flagged_accuracy` is null if none was.
        """
        clean = [row for index, row in enumerate(predictions) if index not in self.occurrences]
        flagged = [predictions[index] for index in self.occurrences]
        kept = ("rows", "accuracy", "interval", "macro_accuracy", "macro_interval")
        figures = rank.summarize(clean) if clean else {}
        return {
            "flagged": len(flagged),
            "not_compared": self.not_compared,
            "flagged_accuracy": rank.accuracy(flagged) if flagged else None,
            "clean": {key: figures[key] for key in kept} if clean else None,
        }


def open_all(manifests: Sequence[str]) -> list[Prepared]:
    """Open prepared mixtures by the paths of their folders or manifests; see `prepared.open`."""
    return [prepared.open_manifest(path) for path in manifests]


def find(
    benchmarks: Mapping[str, Sequence[Question]],
    data: Sequence[Prepared],
    log: logging.Logger | None = None,
) -> dict[str, Contamination]:
    """Return the questions of each benchmark that occur in prepared mixtures.

    Every mixture is read once, and only the words of the questions are kept in memory. Raises
    UserError if a shard cannot be read.
    """
    indexed = {
        name: QuestionWords([question.asked for question in questions])
        for name, questions in benchmarks.items()
    }
    found: dict[str, dict[int, Occurrence]] = {name: {} for name in benchmarks}
    for mixture in data:
        for row, text in _texts(mixture, log):
            for name, words in indexed.items():
                for shared in words.found_in(text):
                    occurrence = Occurrence(shared, mixture.mixture, row)
                    found[name].setdefault(shared.question, occurrence)
    return {
        name: Contamination(found[name], len(words.too_short) + len(words.common))
        for name, words in indexed.items()
    }


def _texts(mixture: Prepared, log: logging.Logger | None) -> Iterator[tuple[int, TrainingText]]:
    reader = mixture.reader()
    for number in range(reader.rows):
        if log is not None and number % _ROWS_PER_LINE == 0:
            log.info(
                "comparing the questions with the training data %s: row %d of %d",
                *(mixture.mixture, number, reader.rows),
            )
        for tokens in packing.texts(reader.row(number)):
            yield number, TrainingText(mixture.vocabulary.decode(tokens.tolist()))
