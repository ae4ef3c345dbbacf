"""Rank classification in numbers: scores to predictions, predictions to accuracy.

Method: TeacherLM (arXiv 2310.19019), equation 1. The score of an option is the mean log-probability
of its tokens given the question, the best score is the prediction, and nothing is generated.
"""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

_Z_95 = 1.959963984540054  # two-sided 95 % point of the standard normal distribution


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model made of one question.

    Attributes:
        id: of the sample.
        subject: of the sample; empty when it has none.
        gold: index of the right option.
        scores: mean log-probability per token of each option, in nats.
    """

    id: str
    subject: str
    gold: int
    scores: tuple[float, ...]

    @property
    def choice(self) -> int:
        """Index of the option with the best score."""
        return best(self.scores)

    @property
    def correct(self) -> bool:
        """Whether the best option is the right one."""
        return self.choice == self.gold


def option_score(log_probabilities: Sequence[float]) -> float:
    """Mean of the log-probabilities of one option's tokens, in nats."""
    if not log_probabilities:
        raise ValueError("an option without tokens has no score")
    return math.fsum(log_probabilities) / len(log_probabilities)


def best(scores: Sequence[float]) -> int:
    """Index of the highest score; of several highest, the first.

    Raises ValueError for a score that is no number: comparing with it would depend on the order.
    """
    if any(math.isnan(score) for score in scores):
        raise ValueError(f"a score is no number: {list(scores)}")
    return max(range(len(scores)), key=lambda index: (scores[index], -index))


def accuracy(predictions: Sequence[Prediction]) -> float:
    """Share of the predictions that are right, from 0 to 1."""
    return sum(prediction.correct for prediction in predictions) / len(predictions)


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927), low and high end, from 0 to 1.

    Unlike the textbook interval it stays within 0 and 1 and has a width when all or none are right.
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"{correct} of {total} is no share")
    share = correct / total
    shrink = 1 + _Z_95**2 / total
    centre = (share + _Z_95**2 / (2 * total)) / shrink
    half = _Z_95 / shrink * math.sqrt(share * (1 - share) / total + (_Z_95 / (2 * total)) ** 2)
    # Rounding must not put the share itself outside when it is 0 or 1.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def majority_baseline(gold: Sequence[int]) -> float:
    """Accuracy of always naming the option letter that is right most often."""
    return max(Counter(gold).values()) / len(gold)


def accuracy_by_subject(predictions: Sequence[Prediction]) -> dict[str, dict[str, Any]]:
    """For each subject, in alphabetical order, its number of rows and its accuracy."""
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        groups[prediction.subject].append(prediction)
    return {
        subject: {"rows": len(group), "accuracy": accuracy(group)}
        for subject, group in sorted(groups.items())
    }


def macro_interval(
    macro: float, by_subject: Mapping[str, Mapping[str, Any]]
) -> tuple[float, float]:
    """95 % interval of a mean over subjects, low and high end, from 0 to 1.

    Subjects are strata of equal weight, so the variance of their mean is the sum of theirs,
    p(1-p)/n, over the square of their number. One right and one wrong answer are added to the p
    (Laplace's rule): a subject of few questions, all of them right, is not certain to stay so.
    """
    variance = 0.0
    for subject in by_subject.values():
        rows = subject["rows"]
        share = (subject["accuracy"] * rows + 1) / (rows + 2)
        variance += share * (1 - share) / rows
    half = _Z_95 * math.sqrt(variance) / len(by_subject)
    return max(0.0, macro - half), min(1.0, macro + half)


def summarize(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Everything that is reported of one benchmark; shares are from 0 to 1.

    `macro_accuracy` is the plain mean over subjects, which is how MMLU is reported, and
    `macro_interval` is its own; a benchmark without subjects has one, the empty one.
    """
    by_subject = accuracy_by_subject(predictions)
    macro = math.fsum(row["accuracy"] for row in by_subject.values()) / len(by_subject)
    correct = sum(prediction.correct for prediction in predictions)
    return {
        "rows": len(predictions),
        "accuracy": accuracy(predictions),
        "interval": list(wilson_interval(correct, len(predictions))),
        "majority": majority_baseline([prediction.gold for prediction in predictions]),
        "macro_accuracy": macro,
        "macro_interval": list(macro_interval(macro, by_subject)),
        "by_subject": by_subject,
    }
