"""The section on contamination: accuracy with and without questions of the training data."""

from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.report.blocks import (
    NO_FIGURE,
    Block,
    Cell,
    Heading,
    Table,
    count,
    interval,
    percent,
)
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.lineage import Lineage


def section(lineage: Lineage, root: epath.PathLike) -> list[Block]:
    """Return the blocks of the section, none if no evaluation looked for its questions."""
    rows = tuple(
        _row(run, benchmark, result, lineage.label(run, root))
        for run in lineage.runs
        if run.verb == "evaluate" and run.finished
        for benchmark, result in run.result["benchmarks"].items()
        if "contamination" in result
    )
    if not rows:
        return []
    return [
        Heading("Contamination"),
        Table(
            "Accuracy in per cent without the questions that occur in the training data which "
            "config.train_manifest of the evaluation names, with its 95% CI, on all questions, and "
            "on these questions alone. Flagged: such questions, listed in "
            "BENCHMARK.contaminated.jsonl of the run. Not compared: questions with too few words "
            "of their own.",
            (
                *("model", "accuracy without", "benchmark", "questions", "accuracy", "flagged"),
                *("accuracy on flagged", "not compared", "run"),
            ),
            rows,
            left=(0, 2, 8),
        ),
    ]


def _row(
    run: RunRecord, benchmark: str, result: Mapping[str, Any], model: str
) -> tuple[str | Cell, ...]:
    figures = result["contamination"]
    clean, on_flagged = figures["clean"], figures["flagged_accuracy"]
    return (
        model,
        Cell(percent(clean["accuracy"]), beside=interval(*clean["interval"]))
        if clean
        else NO_FIGURE,
        *(benchmark, count(result["rows"]), percent(result["accuracy"]), count(figures["flagged"])),
        NO_FIGURE if on_flagged is None else percent(on_flagged),
        *(count(figures["not_compared"]), run.name),
    )
