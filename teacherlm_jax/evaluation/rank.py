"""Rank classification in numbers: from scores to predictions, and from predictions to accuracy.

Method: TeacherLM (arXiv 2310.19019), equation 1. The option with the best score, by default the
mean log-probability of its tokens (see `reductions`), is the prediction. Nothing is generated.
"""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.evaluation import cluster_bootstrap, mmlu_categories

_Z_95 = 1.959963984540054  # two-sided 95% point of the standard normal distribution


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction of a model for one question.

    Attributes:
        id: id of the sample.
        subject: subject of the sample; empty if it has none.
        gold: index of the right option; None if it is unknown.
        scores: score of each option, in nats.
        scores_by_reduction: scores by every reduction that was computed, see
            `reductions.OptionLikelihood`; empty if all of them are equal.
    """

    id: str
    subject: str
    gold: int | None
    scores: tuple[float, ...]
    scores_by_reduction: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)

    @property
    def choice(self) -> int:
        """Index of the option with the best score."""
        return best(self.scores)

    @property
    def correct(self) -> bool:
        """Return whether the best option is the right one; ValueError if that is unknown."""
        if self.gold is None:
            raise ValueError(f"question {self.id!r} has no gold option")
        return self.choice == self.gold

    @property
    def tied(self) -> bool:
        """Return whether several options have the best score."""
        return self.scores.count(self.scores[self.choice]) > 1


def best(scores: Sequence[float]) -> int:
    """Return the index of the highest score; the first one wins ties. ValueError for NaN."""
    if any(math.isnan(score) for score in scores):
        raise ValueError(f"NaN among the scores {list(scores)}")
    return max(range(len(scores)), key=lambda index: (scores[index], -index))


def accuracy(predictions: Sequence[Prediction]) -> float:
    """Return the share of right predictions, from 0 to 1; ValueError for no predictions."""
    if not predictions:
        raise ValueError("no predictions, hence no accuracy")
    return sum(prediction.correct for prediction in predictions) / len(predictions)


def wilson_interval(correct: float, total: float) -> tuple[float, float]:
    """Return the 95% score interval of a share (Wilson 1927): lower and upper limit, 0 to 1.

    Unlike the textbook interval it stays within 0 and 1, and is not empty if all or none are right.
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"{correct} of {total} is not a share")
    share = correct / total
    shrink = 1 + _Z_95**2 / total
    centre = (share + _Z_95**2 / (2 * total)) / shrink
    half = _Z_95 / shrink * math.sqrt(share * (1 - share) / total + (_Z_95 / (2 * total)) ** 2)
    # Rounding must not put the share itself outside when it is 0 or 1.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def majority_baseline(gold: Sequence[int]) -> float:
    """Return the accuracy of always choosing the option that is right most often."""
    if not gold:
        raise ValueError("no questions, hence no majority")
    return max(Counter(gold).values()) / len(gold)


def accuracy_by_subject(predictions: Sequence[Prediction]) -> dict[str, dict[str, Any]]:
    """Return the number of rows and the accuracy by subject, in alphabetical order."""
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        groups[prediction.subject].append(prediction)
    return {
        subject: {"rows": len(group), "accuracy": accuracy(group)}
        for subject, group in sorted(groups.items())
    }


def standard_error(correct: int, total: int) -> float | None:
    """Return the standard error of a share, with the variance of a sample; None for one row."""
    share = correct / total
    return math.sqrt(share * (1 - share) / (total - 1)) if total > 1 else None


def macro_standard_error(by_subject: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the standard error of a mean over subjects.

    Subjects are strata of equal weight, so the variance of their mean is the sum of theirs,
    p(1-p)/n, divided by the square of their number. Each p counts one more right and one more wrong
    answer (Laplace's rule), because a subject with few questions, all right, is not certain.
    """
    variance = 0.0
    for subject in by_subject.values():
        rows = subject["rows"]
        share = (subject["accuracy"] * rows + 1) / (rows + 2)
        variance += share * (1 - share) / rows
    return math.sqrt(variance) / len(by_subject)


def macro_interval(
    macro: float, by_subject: Mapping[str, Mapping[str, Any]]
) -> tuple[float, float]:
    """Return the 95% interval of a mean over subjects, from `macro_standard_error`, 0 to 1."""
    half = _Z_95 * macro_standard_error(by_subject)
    return max(0.0, macro - half), min(1.0, macro + half)


def accuracy_by_category(by_subject: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the accuracies of MMLU's four categories; empty if not all subjects are MMLU's.

    `accuracy` is over the rows of a category, `macro_accuracy` the mean over its subjects.
    """
    figures = {}
    for category, subjects in mmlu_categories.by_category(by_subject).items():
        of_category = [by_subject[subject] for subject in subjects]
        rows = sum(subject["rows"] for subject in of_category)
        correct = math.fsum(subject["accuracy"] * subject["rows"] for subject in of_category)
        mean = math.fsum(subject["accuracy"] for subject in of_category) / len(subjects)
        figures[category] = {
            "rows": rows,
            "accuracy": round(correct) / rows,
            "macro_accuracy": mean,
            "subjects": len(subjects),
        }
    return figures


def accuracy_by_reduction(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return the accuracy under every reduction that was computed; empty if there is only one."""
    names = predictions[0].scores_by_reduction if predictions else ()
    return {
        name: accuracy(
            [
                dataclasses.replace(prediction, scores=prediction.scores_by_reduction[name])
                for prediction in predictions
            ]
        )
        for name in names
    }


def summarize(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return the figures of one benchmark; shares are from 0 to 1.

    `accuracy` comes with its `standard_error`, Wilson `interval`, and `bootstrap_interval` with
    subjects as clusters. `macro_accuracy` is the plain mean over subjects, as MMLU is reported;
    rows without a subject have the subject "". `ties` is the number of predictions for which
    several options have the best score. `by_category` is present for subjects of MMLU, and
    `accuracy_by_reduction` if reductions can differ. Raises ValueError for no predictions.
    """
    micro = accuracy(predictions)
    by_subject = accuracy_by_subject(predictions)
    macro = math.fsum(row["accuracy"] for row in by_subject.values()) / len(by_subject)
    correct = sum(prediction.correct for prediction in predictions)
    gold = [prediction.gold for prediction in predictions if prediction.gold is not None]
    counts = [(round(row["accuracy"] * row["rows"]), row["rows"]) for row in by_subject.values()]
    bootstrap, macro_bootstrap = cluster_bootstrap.micro_and_macro(counts)
    optional = {
        "by_category": accuracy_by_category(by_subject),
        "accuracy_by_reduction": accuracy_by_reduction(predictions),
    }
    return {
        "rows": len(predictions),
        "accuracy": micro,
        "standard_error": standard_error(correct, len(predictions)),
        "interval": list(wilson_interval(correct, len(predictions))),
        "bootstrap_interval": list(bootstrap),
        "majority": majority_baseline(gold),
        "ties": sum(prediction.tied for prediction in predictions),
        "macro_accuracy": macro,
        "macro_standard_error": macro_standard_error(by_subject),
        "macro_interval": list(macro_interval(macro, by_subject)),
        "macro_bootstrap_interval": list(macro_bootstrap),
        "by_subject": by_subject,
        **{key: value for key, value in optional.items() if value},
    }
