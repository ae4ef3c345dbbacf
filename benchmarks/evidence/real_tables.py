"""Tables of students on real questions."""

import math
import statistics

from benchmarks import harness
from benchmarks.evidence import comparisons
from benchmarks.evidence.comparisons import Comparison, Missing
from benchmarks.evidence.outcomes import Rows, Runs
from benchmarks.evidence.student_tables import BUDGETS, joined
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.evidence_steps import study_real


def table(rows: Rows) -> str:
    """Return accuracies on real questions, differences from `text`, and of C from C-permuted."""
    return joined((_accuracies(rows), _differences(rows)))


def _accuracies(rows: Rows) -> str:
    """Return accuracies with intervals, and differences from `text`."""
    lines = []
    for benchmark in study_real.BENCHMARKS:
        runs = _asked(rows, benchmark)
        for arm in study_real.ARMS:
            of_arm = [row for row in runs if row["arm"] == arm]
            if not of_arm:
                continue
            majority = 100 * of_arm[0]["majority"]
            mean, half = accuracy_with_interval(of_arm)
            first = arm == "text"
            differences = [
                ""
                if first
                else comparisons.with_half_width(
                    comparison_of(rows, benchmark, arm, "text", budget)
                )
                for budget in BUDGETS
            ]
            lines.append(
                [
                    benchmark if first else "",
                    of_arm[0]["questions"] if first else "",
                    f"{majority:.1f}" if first else "",
                    arm,
                    len(of_arm),
                    f"{mean:.1f} ± {half:.1f}",
                    "yes" if mean - half > majority else "no",
                    *differences,
                ]
            )
    header = ("benchmark", "questions", "majority, %", "arm", "seeds", "accuracy, %")
    more = ("above majority", *(f"equal {one}" for one in BUDGETS))
    return harness.table((*header, *more), lines)


def _differences(rows: Rows) -> str:
    """Return the differences of own explanations from those of other samples."""
    lines = []
    for benchmark in study_real.BENCHMARKS:
        comparison = comparison_of(rows, benchmark, "C", "C-permuted", "steps")
        if not isinstance(comparison, Missing):
            difference = comparisons.with_half_width(comparison)
            lines.append([benchmark, len(comparison.differences), difference])
    header = ("benchmark", "seeds", "C - C-permuted, equal steps")
    return harness.table(header, lines) if lines else ""


def comparison_of(
    rows: Rows, benchmark: str, arm: str, other: str, budget: str
) -> Comparison | Missing:
    """Compare two arms of students on real questions; raises UserError as `_asked` does."""
    runs = _asked(rows, benchmark)
    amount = runs[0]["amount"] if runs else 0
    return comparisons.of_arms(runs, arm, other, amount, budget)


def _asked(rows: Rows, benchmark: str) -> Runs:
    """Return the outcomes on a benchmark.

    Raises UserError if some are of other samples or questions, so that they cannot be compared.
    """
    runs = [row for row in rows["real"] if row["benchmark"] == benchmark]
    for row in runs:
        if row["digests"] != runs[0]["digests"]:
            raise UserError(
                f"{benchmark}: seed {row['seed']} has other samples or questions than seed "
                f"{runs[0]['seed']}; run one of them again with the --data folder of the other"
            )
    return runs


def accuracy_with_interval(runs: Runs) -> tuple[float, float]:
    """Return the mean accuracy of an arm on a benchmark and half its 95% interval, in percent.

    The interval covers the seeds and the choice of the questions. For one seed it covers the
    questions only.
    """
    accuracies = [100 * row["curve"][-1][1] for row in runs]
    mean = statistics.fmean(accuracies)
    of_seeds = comparisons.half_width(accuracies) if len(runs) > 1 else 0.0
    of_questions = 1.96 * math.sqrt(mean * (100 - mean) / runs[0]["questions"])
    return mean, math.hypot(of_seeds, of_questions)
