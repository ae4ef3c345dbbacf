"""Paired comparisons over seeds, as the protocol defines them."""

import dataclasses
import enum
import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from teacherlm_jax.pipelines.evidence_steps.study import SEEDS

Curve = Sequence[Sequence[float]]
LATE = 6  # validations that are averaged to reduce noise


class Missing(enum.Enum):
    """Why two arms have no comparison; the value is shown in its place."""

    SEEDS = "no common seeds"
    BUDGET = "ends before the first validation"


class OutsideCurve(ValueError):
    """A step before the first validation or after the last one, where no accuracy is known."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Differences between two arms, one for each seed, in points of accuracy.

    Attributes:
        differences: first minus second arm, by seed.
        seeds: the seeds, in the same order; empty if they do not matter.
    """

    differences: tuple[float, ...]
    seeds: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Mean difference."""
        return statistics.fmean(self.differences)

    @property
    def complete(self) -> bool:
        """True if its seeds are exactly those of the protocol."""
        return set(self.seeds) == set(range(SEEDS))

    @property
    def half(self) -> float:
        """Half the width of the 95% interval of the mean (Student's t); inf for one seed."""
        return half_width(self.differences)

    @property
    def p(self) -> float:
        """Exact two-sided p-value of the test that flips the signs of the differences."""
        if len(self.differences) < 2:
            return 1.0
        tested = stats.permutation_test(
            (self.differences,), np.mean, permutation_type="samples", n_resamples=np.inf
        )
        return float(tested.pvalue)


def half_width(values: Sequence[float]) -> float:
    """Return half the width of the 95% interval of a mean (Student's t); inf for one value."""
    if len(values) < 2:
        return float("inf")
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for their number (Holm), by name."""
    adjusted: dict[str, float] = {}
    least = 0.0
    for index, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        least = max(least, min(1.0, (len(p_values) - index) * p_values[name]))
        adjusted[name] = least
    return adjusted


def late_accuracy(curve: Curve) -> float:
    """Return the mean accuracy of the last LATE validations, or of all if there are fewer."""
    return statistics.fmean(accuracy for _, accuracy in curve[-LATE:])


def accuracy_at(curve: Curve, step: float) -> float:
    """Return the accuracy at a step, between two validations by linear interpolation.

    Raises OutsideCurve if the step is not between the first and the last one.
    """
    step = min(step, curve[-1][0]) if step < curve[-1][0] + 1e-6 else step  # rounding
    for measured, accuracy in curve:
        if measured == step:
            return accuracy
    for (before, low), (after, high) in itertools.pairwise(curve):
        if before <= step <= after:
            return low + (high - low) * (step - before) / (after - before)
    raise OutsideCurve(f"step {step:g} is not between {curve[0][0]} and {curve[-1][0]}")


def of_arms(
    rows: Iterable[Mapping[str, Any]], arm: str, other: str, amount: int, budget: str
) -> Comparison | Missing:
    """Compare two arms of students with equal "steps", "tokens" or "passes".

    The arm that needs fewer steps for the budget is read from its curve at that step.
    """
    of_arm = {(row["arm"], row["seed"]): row for row in rows if row["amount"] == amount}
    seeds = sorted(seed for name, seed in of_arm if name == arm and (other, seed) in of_arm)
    if not seeds:
        return Missing.SEEDS
    try:
        pairs = [_pair(of_arm[arm, seed], of_arm[other, seed], budget) for seed in seeds]
    except OutsideCurve:
        return Missing.BUDGET
    return Comparison(tuple(100 * (first - second) for first, second in pairs), tuple(seeds))


def _pair(first: Mapping[str, Any], second: Mapping[str, Any], budget: str) -> tuple[float, float]:
    rates = [_rate(row, budget) for row in (first, second)]  # of the budget, for each step
    common = min(rate * row["steps"] for rate, row in zip(rates, (first, second), strict=True))
    one, two = (
        accuracy_at(row["curve"], common / rate)
        for rate, row in zip(rates, (first, second), strict=True)
    )
    return one, two


def _rate(row: Mapping[str, Any], budget: str) -> float:
    tokens = row["tokens"] / row["steps"]
    return {"steps": 1.0, "tokens": tokens, "passes": tokens / row["pass_tokens"]}[budget]


def paired(values: Mapping[tuple[str, int], float], arm: str, other: str) -> Comparison | Missing:
    """Compare two arms by their values for (arm, seed)."""
    seeds = sorted(seed for name, seed in values if name == arm and (other, seed) in values)
    differences = tuple(values[arm, seed] - values[other, seed] for seed in seeds)
    return Comparison(differences, tuple(seeds)) if differences else Missing.SEEDS


def with_half_width(comparison: Comparison | Missing) -> str:
    """Return a difference with half the width of its interval, such as `+1.2 ± 0.8`."""
    if isinstance(comparison, Missing):
        return comparison.value
    half = f" ± {comparison.half:.1f}" if len(comparison.differences) > 1 else ""
    return f"{_signed(comparison.mean)}{half}"


def with_bounds(comparison: Comparison) -> str:
    """Return a difference with the bounds of its interval, such as `+1.2 (+0.4 to +2.0)`.

    A bound that rounds to 0 has two decimals, because its sign matters.
    """
    mean, half = comparison.mean, comparison.half
    if not math.isfinite(half):
        return _signed(mean)
    bounds = (mean - half, mean + half)
    low, high = (f"{one:+.2f}" if abs(one) < 0.05 else f"{one:+.1f}" for one in bounds)
    return f"{_signed(mean)} ({low} to {high})"


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # -0.0 + 0.0 is 0.0
