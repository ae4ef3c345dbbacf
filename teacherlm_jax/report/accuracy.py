"""The section on accuracy: every evaluated model on every benchmark, with the paper's figures."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import (
    NO_FIGURE,
    Block,
    Cell,
    Figure,
    Heading,
    Paragraph,
    Subheading,
    Table,
    count,
    interval,
    percent,
)
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.report.paper import names_of_models, paper_tables, printed

_TIES_TO_SHOW = 0.01  # share of the questions


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelAccuracy:
    """The result of one model on one benchmark.

    Attributes:
        run: the evaluation.
        model: name of the model on the page.
        result: result of the evaluation on the benchmark, see `evaluation.rank.summarize`.
        macro: whether the headline figure is the mean over subjects, as in the paper.
    """

    run: RunRecord
    model: str
    result: dict[str, Any]
    macro: bool

    @property
    def accuracy(self) -> float:
        """Return the headline figure, from 0 to 1."""
        return self.result["macro_accuracy" if self.macro else "accuracy"]

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% CI of the headline figure, from 0 to 1."""
        low, high = self.result["macro_interval" if self.macro else "interval"]
        return low, high


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Models that answered the same questions in the same way, as far as their results show.

    Attributes:
        benchmark: name of the benchmark.
        rows: number of questions.
        majority: accuracy of the majority baseline, from 0 to 1.
        settings: settings of the scoring, those that the result records.
        models: results, one for each model.
    """

    benchmark: str
    rows: int
    majority: float
    settings: Mapping[str, Any]
    models: tuple[ModelAccuracy, ...]


def by_benchmark(lineage: Lineage, root: epath.PathLike) -> dict[str, list[QuestionSet]]:
    """Return the results of finished evaluations by benchmark, in the order of the runs.

    Models with different questions of a benchmark (another limit, another file), or with other
    settings of the scoring, are in different sets, because their figures are not comparable.
    """
    results: dict[str, list[tuple[RunRecord, dict[str, Any]]]] = {}
    for run in lineage.runs:
        if run.verb == "evaluate" and run.finished:
            for benchmark, result in run.result["benchmarks"].items():
                results.setdefault(benchmark, []).append((run, result))
    return {name: _question_sets(name, own, lineage, root) for name, own in results.items()}


def _question_sets(
    benchmark: str,
    results: Sequence[tuple[RunRecord, dict[str, Any]]],
    lineage: Lineage,
    root: epath.PathLike,
) -> list[QuestionSet]:
    several_subjects = all(len(result["by_subject"]) > 1 for _, result in results)
    formats = {run.benchmark_format(benchmark) for run, _ in results}
    macro = several_subjects and all(map(printed.is_mean_of_subjects, formats))
    sets: dict[str, list[ModelAccuracy]] = {}
    labels = [lineage.label(run, root) for run, _ in results]
    for (run, result), label in zip(results, labels, strict=True):
        model = label if labels.count(label) == 1 else f"{label} ({run.name})"
        accuracy = ModelAccuracy(run=run, model=model, result=result, macro=macro)
        same = (result["rows"], result["majority"], sorted(_settings(run, result).items()))
        sets.setdefault(repr(same), []).append(accuracy)
    return [_question_set(benchmark, models) for models in sets.values()]


def _question_set(benchmark: str, models: Sequence[ModelAccuracy]) -> QuestionSet:
    first = models[0]
    return QuestionSet(
        benchmark=benchmark,
        rows=first.result["rows"],
        majority=first.result["majority"],
        settings=_settings(first.run, first.result),
        models=tuple(models),
    )


def _settings(run: RunRecord, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the scoring; results of earlier versions record the dtype at most."""
    settings = {key: value for key, value in result.get("settings", {}).items() if key != "format"}
    return settings | ({"dtype": run.result["dtype"]} if "dtype" in run.result else {})


def _scoring(settings: Mapping[str, Any]) -> str:
    """Return a sentence on the settings of the scoring; empty if none are recorded."""
    if not settings:
        return ""
    shown = (f"{key.replace('_', ' ')} {value}" for key, value in settings.items())
    return f" Scoring: {', '.join(shown)}."


def section(lineage: Lineage, root: epath.PathLike) -> list[Block]:
    """Return the blocks of the section, none if nothing was evaluated."""
    benchmarks = by_benchmark(lineage, root)
    if not benchmarks:
        return []
    blocks: list[Block] = [
        Heading("Accuracy"),
        Paragraph(
            "Rank classification: the option that the model scores highest is its "
            "answer. CI: confidence interval, Wilson's for an accuracy and the stratified one for "
            "a mean over subjects. Compare each accuracy with the majority baseline, which always "
            "answers with the most frequent correct letter."
        ),
    ]
    for benchmark, sets in benchmarks.items():
        blocks.append(Subheading(benchmark))
        for number, questions in enumerate(sets, start=1):
            blocks.append(_figure(questions, f"-{number}" if len(sets) > 1 else ""))
        models = [model for questions in sets for model in questions.models]
        blocks += [_table(models), *_categories(models)]
        (first, *_) = sets[0].models
        format = first.run.benchmark_format(benchmark)
        blocks += [_paper_table(table) for table in printed.tables_of(format)]
    return blocks


def _figure(questions: QuestionSet, suffix: str) -> Figure:
    bars = [(entry.model, entry.accuracy, *entry.interval) for entry in questions.models]
    first = questions.models[0]
    measure = "mean accuracy over subjects" if first.macro else "accuracy"
    size = f"{count(questions.rows)} questions"
    if first.macro:
        size = f"{len(first.result['by_subject'])} subjects, {size}"
    return Figure(
        name=f"accuracy-{questions.benchmark}{suffix}",
        drawing=figures.intervals(
            bars, questions.majority, "mean over subjects, %" if first.macro else "accuracy, %"
        ),
        caption=f"{questions.benchmark} ({size}): {measure} with its 95% CI. "
        f"Dashed line: majority baseline.{_scoring(questions.settings)}",
        description=f"{measure.capitalize()} on {questions.benchmark}: "
        + ", ".join(f"{name} {percent(value)}%" for name, value, *_ in bars),
    )


def _table(models: Sequence[ModelAccuracy]) -> Table:
    macro = models[0].macro
    several_subjects = any(len(entry.result["by_subject"]) > 1 for entry in models)
    incomplete = any(entry.result["refused"] or entry.result["truncated"] for entry in models)
    ties = any(_ties(entry) > _TIES_TO_SHOW * entry.result["rows"] for entry in models)
    header = ["model", "mean over subjects" if macro else "accuracy", "majority"]
    header += ["accuracy" if macro else "mean over subjects"] if several_subjects else []
    header += ["questions", "step"]
    header += ["refused", "truncated"] if incomplete else []
    header += ["ties"] if ties else []
    rows: list[tuple[str | Cell, ...]] = []
    for entry in models:
        result = entry.result
        accuracy = Cell(percent(entry.accuracy), beside=interval(*entry.interval))
        row: list[str | Cell] = [entry.model, accuracy, percent(result["majority"])]
        if several_subjects:
            row.append(percent(result["accuracy" if macro else "macro_accuracy"]))
        row += [count(result["rows"]), count(entry.run.result["step"])]
        row += [count(result["refused"]), count(result["truncated"])] if incomplete else []
        row += [count(_ties(entry))] if ties else []
        rows.append((*row, entry.run.name))
    return Table(
        _caption(macro, incomplete, ties), (*header, "run"), tuple(rows), left=(0, len(header))
    )


def _categories(models: Sequence[ModelAccuracy]) -> list[Block]:
    """Return a table of the categories of MMLU; none for results without categories."""
    by_model = {model.model: model.result.get("by_category", {}) for model in models}
    names = list(dict.fromkeys(name for own in by_model.values() for name in own))
    if not names:
        return []
    rows = tuple(
        (model, *(_category(own[name]) if name in own else NO_FIGURE for name in names))
        for model, own in by_model.items()
    )
    caption = (
        "Accuracy in per cent by category of subjects: the mean over subjects and, smaller, the "
        "accuracy over questions."
    )
    return [Table(caption, ("model", *names), rows)]


def _category(result: Mapping[str, Any]) -> Cell:
    return Cell(percent(result["macro_accuracy"]), beside=percent(result["accuracy"]))


def _ties(model: ModelAccuracy) -> int:
    """Return the number of questions with ties; results of earlier versions have no count."""
    return model.result.get("ties", 0)


def _caption(macro: bool, incomplete: bool, ties: bool) -> str:
    caption = "Accuracy in per cent with its 95% CI, by model and run folder."
    if macro:
        caption += " The paper reports the mean over subjects; the CI is that of this mean."
    if incomplete:
        caption += (
            " Refused: rows that could not be used. Truncated: prompts that were truncated on the "
            "left."
        )
    if ties:
        caption += " Ties: questions where several options have the best score; the first one wins."
    return caption


def _paper_table(table: printed.PrintedTable) -> Table:
    teachers = table is printed.table("teachers")
    name_row = names_of_models.teacher if teachers else names_of_models.form
    name_column = names_of_models.stage if teachers else names_of_models.student
    rows = []
    for row in table.rows:
        cells = (paper_tables.printed_cell(table, row, column) for column in table.columns)
        rows.append((name_row(row), *cells))
    caption = f"{table.heading} ({printed.source()}). {table.note}"
    if any(NO_FIGURE in row for row in rows):
        caption += f" {NO_FIGURE}: not in the paper."
    header = ("paper", *map(name_column, table.columns))
    return Table(caption, header, tuple(rows))
