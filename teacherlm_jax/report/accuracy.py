"""The section on accuracy: every evaluated model on every benchmark, beside the paper's figures."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.report import figures, paper
from teacherlm_jax.report.blocks import (
    Block,
    Heading,
    Paragraph,
    Subheading,
    SvgFigure,
    Table,
    count,
    interval,
    percent,
)
from teacherlm_jax.report.collect import RunRecord, label


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelAccuracy:
    """One model on one benchmark.

    Attributes:
        run: the evaluation.
        model: how the model is called on the page.
        result: what the evaluation found on the benchmark, see `evaluation.rank.summarize`.
        macro: whether the headline is the mean over subjects, as it is where the paper's is.
    """

    run: RunRecord
    model: str
    result: dict[str, Any]
    macro: bool

    @property
    def accuracy(self) -> float:
        """The headline, from 0 to 1."""
        return self.result["macro_accuracy" if self.macro else "accuracy"]

    @property
    def interval(self) -> tuple[float, float]:
        """The headline's own 95 % interval, from 0 to 1."""
        low, high = self.result["macro_interval" if self.macro else "interval"]
        return low, high


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Models that were asked the same questions, as far as their results tell."""

    benchmark: str
    rows: int
    majority: float
    measured: tuple[ModelAccuracy, ...]


def by_benchmark(runs: Sequence[RunRecord], root: Path | str) -> dict[str, list[QuestionSet]]:
    """What the finished evaluations found, by benchmark; models and sets in the order of the runs.

    Models that were asked other questions of a benchmark (a limit, another file) make a set of
    their own: their figures do not stand side by side.
    """
    found: dict[str, list[tuple[RunRecord, dict[str, Any]]]] = {}
    for run in runs:
        if run.verb == "evaluate" and run.finished:
            for benchmark, result in run.result["benchmarks"].items():
                found.setdefault(benchmark, []).append((run, result))
    return {name: _sets(name, results, root) for name, results in found.items()}


def _sets(
    benchmark: str, results: Sequence[tuple[RunRecord, dict[str, Any]]], root: Path | str
) -> list[QuestionSet]:
    several_subjects = all(len(result["by_subject"]) > 1 for _, result in results)
    macro = several_subjects and paper.is_mean_of_subjects(benchmark)
    sets: dict[tuple[int, float], list[ModelAccuracy]] = {}
    for run, result in results:
        model = label(run.result["model"], root)
        measured = ModelAccuracy(run=run, model=model, result=result, macro=macro)
        sets.setdefault((result["rows"], result["majority"]), []).append(measured)
    return [
        QuestionSet(benchmark=benchmark, rows=rows, majority=majority, measured=tuple(measured))
        for (rows, majority), measured in sets.items()
    ]


def section(runs: Sequence[RunRecord], root: Path | str) -> list[Block]:
    """Blocks of the section; none when nothing was evaluated."""
    found = by_benchmark(runs, root)
    if not found:
        return []
    blocks: list[Block] = [
        Heading("Accuracy"),
        Paragraph(
            "Rank classification, zero-shot: the option whose text the model finds likeliest is "
            "its answer. Intervals are 95 %: Wilson's, and for a mean over subjects the "
            "stratified one. The majority baseline always names the letter that is right most "
            "often; what a model has learned is what lies beyond it."
        ),
    ]
    for benchmark, sets in found.items():
        blocks.append(Subheading(benchmark))
        for number, asked in enumerate(sets, start=1):
            blocks.append(_figure(asked, f"-{number}" if len(sets) > 1 else ""))
        blocks.append(_table([each for asked in sets for each in asked.measured]))
        blocks += [_paper_table(table) for table in paper.tables(benchmark)]
    return blocks


def _figure(asked: QuestionSet, suffix: str) -> SvgFigure:
    bars = [(each.model, each.accuracy, *each.interval) for each in asked.measured]
    first = asked.measured[0]
    if first.macro:
        subjects = len(first.result["by_subject"])
        what = f"{subjects} subjects, {count(asked.rows)} questions: mean accuracy over subjects"
    else:
        what = f"{count(asked.rows)} questions: accuracy"
    return SvgFigure(
        name=f"accuracy-{asked.benchmark}{suffix}",
        svg=figures.accuracy_bars(
            bars, asked.majority, "mean over subjects, %" if first.macro else "accuracy, %"
        ),
        caption=f"{asked.benchmark}, {what} with its 95 % interval; dashed, the majority baseline.",
        description=f"{what.partition(': ')[2].capitalize()} on {asked.benchmark}: "
        + ", ".join(f"{name} {percent(value)} %" for name, value, *_ in bars),
    )


def _table(measured: Sequence[ModelAccuracy]) -> Table:
    macro = measured[0].macro
    several_subjects = any(len(each.result["by_subject"]) > 1 for each in measured)
    left_out = any(each.result["refused"] or each.result["truncated"] for each in measured)
    header = ["model", "step", "questions", "mean of subjects" if macro else "accuracy"]
    header += ["95 % interval", "majority"]
    header += ["of all questions" if macro else "mean of subjects"] if several_subjects else []
    header += ["refused", "cut"] if left_out else []
    rows = []
    for each in measured:
        result = each.result
        row = [each.model, count(each.run.result["step"]), count(result["rows"])]
        row += [percent(each.accuracy), interval(*each.interval), percent(result["majority"])]
        if several_subjects:
            row.append(percent(result["accuracy" if macro else "macro_accuracy"]))
        row += [count(result["refused"]), count(result["truncated"])] if left_out else []
        rows.append((*row, each.run.name))
    caption = "Per cent right, and the run folder that each row comes from."
    if macro:
        caption += " The mean of subjects is what the paper gives, and the interval is that mean's."
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
