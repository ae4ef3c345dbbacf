"""The section on accuracy: every evaluated model on every benchmark, beside the paper's figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.report import figures, paper
from teacherlm_jax.report.blocks import Block, Figure, Heading, Paragraph, Subheading, Table
from teacherlm_jax.report.collect import FoundRun, label
from teacherlm_jax.report.words import count, interval, percent

Measured = tuple[FoundRun, str, dict[str, Any]]  # the run, its model's name, one benchmark's result


def by_benchmark(runs: Sequence[FoundRun], root: Path | str) -> dict[str, list[Measured]]:
    """What the finished evaluations found, by benchmark, in the order of the runs."""
    found: dict[str, list[Measured]] = {}
    for run in runs:
        if run.verb == "evaluate" and run.finished:
            name = label(run.result["model"], root)
            for benchmark, result in run.result["benchmarks"].items():
                found.setdefault(benchmark, []).append((run, name, result))
    return found


def section(runs: Sequence[FoundRun], root: Path | str) -> list[Block]:
    """Blocks of the section; none when nothing was evaluated."""
    found = by_benchmark(runs, root)
    if not found:
        return []
    blocks: list[Block] = [
        Heading("Accuracy"),
        Paragraph(
            "Rank classification, zero-shot: the option whose text the model finds likeliest is "
            "its answer. Intervals are 95 % (Wilson). The majority baseline always names the "
            "letter that is right most often; what a model has learned is what lies beyond it."
        ),
    ]
    for benchmark, measured in found.items():
        blocks += [Subheading(benchmark), *_figures(benchmark, measured), _table(measured)]
        blocks += [_paper_table(table) for table in paper.tables(benchmark)]
    return blocks


def _figures(benchmark: str, measured: Sequence[Measured]) -> list[Block]:
    """One figure for each set of questions: models asked others do not stand side by side."""
    groups: dict[tuple[int, float], list[Measured]] = {}
    for each in measured:
        groups.setdefault((each[2]["rows"], each[2]["majority"]), []).append(each)
    drawn: list[Block] = []
    for number, ((rows, majority), group) in enumerate(groups.items(), start=1):
        bars = [(name, result["accuracy"], *result["interval"]) for _, name, result in group]
        drawn.append(
            Figure(
                name=f"accuracy-{benchmark}" + (f"-{number}" if len(groups) > 1 else ""),
                svg=figures.accuracy_bars(bars, majority),
                caption=f"{benchmark}, {count(rows)} questions: accuracy with its 95 % interval; "
                "dashed, the majority baseline.",
                description=f"Accuracy on {benchmark}: "
                + ", ".join(f"{name} {percent(value)} %" for name, value, *_ in bars),
            )
        )
    return drawn


def _table(measured: Sequence[Measured]) -> Table:
    several_subjects = any(len(result["by_subject"]) > 1 for *_, result in measured)
    left_out = any(result["refused"] or result["truncated"] for *_, result in measured)
    header = ["model", "step", "questions", "accuracy", "95 % interval", "majority"]
    header += ["mean of subjects"] if several_subjects else []
    header += ["refused", "cut"] if left_out else []
    rows = []
    for run, name, result in measured:
        row = [name, count(run.result["step"]), count(result["rows"])]
        row += [percent(result["accuracy"]), interval(*result["interval"])]
        row += [percent(result["majority"])]
        row += [percent(result["macro_accuracy"])] if several_subjects else []
        row += [count(result["refused"]), count(result["truncated"])] if left_out else []
        rows.append((*row, run.name))
    caption = "Per cent right, and the run folder that each row comes from."
    if left_out:
        caption += " Refused: rows that could not be used. Cut: prompts that lost their left end."
    return Table(caption, (*header, "run"), tuple(rows), left=(0, len(header)))


def _paper_table(table: paper.PaperTable) -> Table:
    rows = tuple(
        (name, *("–" if figure is None else f"{figure:.1f}" for figure in figures_))
        for name, figures_ in table.rows.items()
    )
    caption = f"The paper's figures ({paper.SOURCE}), per cent. {table.caption}"
    if any(figure is None for figures_ in table.rows.values() for figure in figures_):
        caption += " –: not given, or misprinted in the paper."
    return Table(caption, ("in the paper", *table.columns), rows)
