"""The report on data: the paper's Table 2 for any samples or prepared rows, and their lengths."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.report import data_inputs, figures, measure, paper
from teacherlm_jax.report.blocks import (
    Block,
    Heading,
    Notice,
    Subheading,
    SvgFigure,
    Table,
    count,
    rounded,
)
from teacherlm_jax.report.console_summary import aligned, ruled
from teacherlm_jax.report.measure import ANSWER, TEXT, DataStatistics, Field
from teacherlm_jax.report.page import write
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import open_vocabulary

_SHOWN = 6  # data sets whose lengths are drawn apart; more of them are drawn together
_CUT = 0.995  # share of the texts that a histogram shows at their place


def report_data(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Writes the report on `config.data`, as `build.report` does on runs, and logs its table.

    Returns the page's path and the table's figures by data set. Raises UserError when there is
    nothing to measure, or no vocabulary to measure it with.
    """
    if folders := data_inputs.mixtures(config.data):
        measured, more = _of_mixtures(folders, config.vocabulary)
    else:
        measured, more = _of_samples(config, run.path / layout.REFUSED)
    title = f"{config.title}: data"
    rows = sum(each.rows for each in measured)
    lede = f"{config.data}: {count(rows)} rows. Lengths are in tokens."
    table = _table(measured)
    blocks = [Heading("Data"), table, Heading("Lengths"), *_lengths(measured), *more, *_paper()]
    place = (run.path / layout.REPORT_HTML).absolute()
    told = f"{ruled(title, '=')}\n{lede}\n\n{aligned([table.header, *table.rows])}\n\n{place}\n"
    page = write(run, title, lede, blocks, told)
    run.log.info("%s", told)
    return {"page": str(page), "data": {each.name: _figures(each) for each in measured}}


def _of_mixtures(
    folders: Sequence[Path], vocabulary: str
) -> tuple[list[DataStatistics], list[Block]]:
    measured: list[DataStatistics] = []
    blocks: list[Block] = [Heading("Tasks")]
    for folder in folders:
        data = prepared.open(folder)
        if vocabulary:
            data_inputs.require_digest(open_vocabulary(vocabulary), Path(vocabulary), data)
        measured.append(measure.of_rows(data))
        if sources := measure.of_sources(data.manifest):
            blocks.append(_sources(sources, folder.name))
        blocks.append(_tasks(data.manifest))
    return measured, blocks


def _of_samples(config: ReportConfig, side_file: Path) -> tuple[list[DataStatistics], list[Block]]:
    refused = RefusedRows(side_file)
    try:
        samples = data_inputs.read_samples(config.data, config.format, refused)
        first = next(samples)
        if config.vocabulary:
            vocabulary = open_vocabulary(config.vocabulary)
        else:
            vocabulary = data_inputs.vocabulary_of_samples(config.data, first)
        measured = measure.of_samples(itertools.chain([first], samples), vocabulary)
    finally:
        refused.close()
    lines = tuple(refused.summary())
    return measured, [Notice("Rows that could not be used", lines)] if lines else []


def _table(measured: Sequence[DataStatistics]) -> Table:
    """The paper's Table 2 of these data sets."""
    fields = measure.fields_of(measured)
    rows = tuple(
        (
            each.name,
            count(each.rows),
            measure.options_text(each.options),
            *(_cell(each.mean(field)) for field in fields),
        )
        for each in measured
    )
    return Table(
        "Rows, options of a question (– for free text), and mean tokens: of questions with their "
        "options, of answers, and of explanations by kind and author.",
        ("data", "rows", "options", *map(_name, fields)),
        rows,
    )


def _sources(sources: Sequence[DataStatistics], mixture: str) -> Table:
    """The means of a mixture's sources, which its rows on disk do not keep apart."""
    fields = measure.fields_of(sources)
    return Table(
        f"Texts of the mixture {mixture} by source, and their mean tokens before any cut.",
        ("source", "texts", *map(_name, fields)),
        tuple(
            (each.name, count(each.rows), *(_cell(each.mean(field)) for field in fields))
            for each in sources
        ),
    )


def _cell(mean: float | None) -> str:
    return "–" if mean is None else rounded(mean, 1)


def _name(field: Field) -> str:
    kind, author = field
    return f"{kind} by {author}" if author else kind


def _figures(each: DataStatistics) -> dict[str, Any]:
    means = {_name(field): each.mean(field) for field in measure.fields_of([each])}
    return {
        "rows": each.rows,
        "options": {str(number): rows for number, rows in sorted(each.options.items())},
        "mean_tokens": {name: round(mean, 2) for name, mean in means.items() if mean is not None},
    }


def _lengths(measured: Sequence[DataStatistics]) -> list[Block]:
    """A drawing and a table of each data set, or of all of them together."""
    if len(measured) > _SHOWN:
        measured = [_together(measured)]
    blocks: list[Block] = []
    for number, each in enumerate(measured):
        blocks += [Subheading(each.name), _drawing(each, f"lengths-{number}"), _spreads(each)]
    return blocks


def _together(measured: Sequence[DataStatistics]) -> DataStatistics:
    whole = DataStatistics(f"all {len(measured)} together")
    for each in measured:
        for field, lengths in each.lengths.items():
            whole.lengths.setdefault(field, Counter()).update(lengths)
    return whole


def _drawn(each: DataStatistics) -> list[Field]:
    return [field for field in (TEXT, *measure.fields_of([each])) if field in each.lengths]


def _drawing(each: DataStatistics, name: str) -> SvgFigure:
    drawn = [field for field in _drawn(each) if field != ANSWER]
    longest = max(measure.percentile(each.lengths[field], _CUT) for field in drawn)
    panels = [
        (
            _name(field),
            *measure.histogram(each.lengths[field], longest),
            measure.mean(each.lengths[field]),
        )
        for field in drawn
    ]
    beyond = sum(
        texts for field in drawn for size, texts in each.lengths[field].items() if size > longest
    )
    caption = f"Lengths in {each.name}: share of texts by number of tokens, and the means."
    if beyond:
        caption += f" The last bars hold the {count(beyond)} longer texts, too."
    said = ", ".join(f"{title} {mean:.1f}" for title, *_, mean in panels)
    return SvgFigure(
        name=name,
        svg=figures.histograms(panels, "tokens"),
        caption=caption,
        description=f"Histograms of lengths in {each.name}; mean tokens: {said}",
    )


def _spreads(each: DataStatistics) -> Table:
    rows = []
    for field in _drawn(each):
        lengths = each.lengths[field]
        places = (measure.percentile(lengths, share) for share in (0.5, 0.95, 1))
        mean = rounded(measure.mean(lengths), 1)
        rows.append((_name(field), count(lengths.total()), mean, *map(count, places)))
    return Table(
        f"Lengths in {each.name}: texts, and their tokens.",
        ("of", "texts", "mean", "median", "95 %", "longest"),
        tuple(rows),
    )


def _tasks(manifest: Mapping[str, Any]) -> Table:
    rows: list[tuple[str, ...]] = [
        (task, count(found["texts"]), count(found["tokens"]), "")
        for task, found in manifest["tasks"].items()
    ]
    rows += [
        (task, count(texts), "–", f"left out: {reason}")
        for task, reasons in manifest["drops"].items()
        for reason, texts in reasons.items()
    ]
    rows += [
        (task, count(texts), "–", f"too long: {policy}")
        for task, policies in manifest.get("too_long", {}).items()
        for policy, texts in policies.items()
        if policy != "drop"  # those are among the ones left out
    ]
    header: tuple[str, ...] = ("task", "texts", "tokens", "remark")
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    filled = 100 * manifest["tokens"] / (manifest["rows"] * manifest["length"])
    return Table(
        f"Texts of the mixture {manifest['mixture']} by source and form. They stand in "
        f"{count(manifest['rows'])} rows of {count(manifest['length'])} tokens, {filled:.1f} % "
        "filled.",
        header,
        tuple(rows),
        left=(0, 3),
    )


def _paper() -> list[Block]:
    rows = tuple(
        (name, *("–" if figure is None else count(int(figure)) for figure in row))
        for name, row in paper.DATA.rows.items()
    )
    caption = f"{paper.DATA.caption} {paper.SOURCE}; –: not given."
    return [Heading("The paper's data"), Table(caption, ("data", *paper.DATA.columns), rows)]
