"""The paper's tables of data (Table 2), corpora and hyper-parameters, beside those of our runs."""

from collections.abc import Callable, Iterator, Sequence

from teacherlm_jax.config import paper_models
from teacherlm_jax.report.blocks import NO_FIGURE, Table, count
from teacherlm_jax.report.paper import names_of_models, printed, settings_cells
from teacherlm_jax.report.paper.measured import Measured
from teacherlm_jax.report.paper.paper_tables import DIFFERENCE, OURS

Values = Sequence[float | None]


def data(measured: Measured) -> Table:
    """Return Table 2; `data_figures` says where our figures are from."""
    table = printed.table(settings_cells.DATA)
    header = ("", *map(names_of_models.data_column, table.columns))
    caption = (
        f"{table.heading} ({printed.source()}). {table.note} Ours: samples and explanations of "
        "annotation runs, questions of evaluations and the mean number of their options, and "
        "explanations by people in the data of students that were trained on them. Annotations and "
        "evaluations of a part of the data are not counted. "
        f"{NO_FIGURE}: not known."
    )
    rows = _all_rows(settings_cells.DATA, names_of_models.dataset, measured)
    return Table(caption, header, rows)


def teacher_settings(measured: Measured) -> Table:
    """Return the hyper-parameters of the teachers by size."""
    table = printed.table(settings_cells.TEACHERS)
    header = ("", "learning rate", "batch", "tokens, stage 1", "stage 2", "stage 3")
    caption = (
        f"{table.heading} ({printed.source()}). {table.note} Ours: the first stage that was "
        f"trained; in stage 3 the first of the three specialists. {NO_FIGURE}: not known."
    )
    rows = _all_rows(settings_cells.TEACHERS, names_of_models.teacher, measured)
    return Table(caption, header, rows)


def student_settings(measured: Measured) -> Table:
    """Return the hyper-parameters of the students."""
    table = printed.table(settings_cells.STUDENTS)
    caption = f"{table.heading} ({printed.source()}). {table.note} Ours: the first student."
    rows = _all_rows(settings_cells.STUDENTS, names_of_models.number_of_tasks, measured)
    return Table(caption, ("", "learning rate", "batch"), rows)


def ours(name: str, row: str, measured: Measured) -> dict[str, float]:
    """Return our figures for a row of a table in SETTINGS_TABLES, by column."""
    if name == settings_cells.DATA:
        return measured.data.get(f"data/{row}", {})
    if name == settings_cells.STUDENTS:
        groups = {"multi": paper_models.MULTI_TASK, "single": paper_models.SINGLE_TASK}
        return _settings_of(measured, groups[row])
    by_stage = {
        stage: _settings_of(measured, [name for name in _stages(row) if f"/{stage}" in name])
        for stage in ("stage1", "stage2", "stage3")
    }
    any_stage = next((own for own in by_stage.values() if own), {})
    tokens = {stage: own["tokens"] for stage, own in by_stage.items() if own}
    return any_stage | tokens


def _all_rows(
    name: str, title: Callable[[str], str], measured: Measured
) -> tuple[tuple[str, ...], ...]:
    """Return the rows of the paper, each followed by ours if we have a figure for it."""
    table = printed.table(name)
    rows: list[tuple[str, ...]] = []
    for row, of_paper in table.rows.items():
        own = ours(name, row, measured)
        rows += _rows(title(row), of_paper, [own.get(column) for column in table.columns])
    return tuple(rows)


def corpora() -> Table:
    """Return the training corpora of the paper."""
    table = printed.table("corpora")
    rows = tuple((row, *map(_number, values)) for row, values in table.rows.items())
    header = ("", *(column.replace("_", " ") for column in table.columns))
    return Table(f"{table.heading} ({printed.source()}). {table.note}", header, rows)


def _stages(size: str) -> list[str]:
    return [name for name in paper_models.TEACHERS if name.startswith(f"teacher/{size}/")]


def _settings_of(measured: Measured, names: Sequence[str]) -> dict[str, float]:
    """Return the settings of the first of some models that was trained; empty if none was."""
    return next((measured.settings[name] for name in names if name in measured.settings), {})


def _rows(title: str, of_paper: Values, ours: Values) -> Iterator[tuple[str, ...]]:
    yield (f"{title}, paper", *map(_number, of_paper))
    if any(value is not None for value in ours):
        yield (f"{title}, {OURS}", *map(_number, ours))
        pairs = zip(ours, of_paper, strict=True)
        yield (f"{title}, {DIFFERENCE}", *(_difference(*pair) for pair in pairs))


def _number(value: float | None) -> str:
    """Return 1400364 as `1,400,364`, 5e9 as `5B`, and 3e-4 as `3e-04`."""
    if value is None:
        return NO_FIGURE
    if value and abs(value) < 1:
        return f"{value:.0e}" if float(f"{value:.0e}") == value else f"{value:.3g}"
    if abs(value) >= 10**8:
        return f"{value / 10**9:.3g}B"
    return count(int(value)) if value == int(value) else f"{value:,.1f}"


def _difference(ours: float | None, of_paper: float | None) -> str:
    if ours is None or of_paper is None:
        return NO_FIGURE
    difference = ours - of_paper
    if not difference:
        return "0"
    return f"{'−' if difference < 0 else '+'}{_number(abs(difference))}"
