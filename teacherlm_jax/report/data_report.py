"""The report on data: Table 2 of the paper for any samples or prepared rows, and their lengths."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.data.percentiles import percentile
from teacherlm_jax.hf import hub
from teacherlm_jax.report import data_inputs, figures, measure
from teacherlm_jax.report.blocks import (
    NO_FIGURE,
    Block,
    Figure,
    Heading,
    Notice,
    Subheading,
    Table,
    count,
    rounded,
)
from teacherlm_jax.report.console_summary import aligned, underlined
from teacherlm_jax.report.measure import ANSWER, TEXT, DataStatistics, Field
from teacherlm_jax.report.page import write
from teacherlm_jax.report.paper import names_of_models, printed
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import locations
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import open_vocabulary
from teacherlm_jax.wording import counted

_SEPARATE = 6  # datasets with a figure each; more of them share one figure
_WITHIN_AXIS = 0.995  # share of the texts within the axis of a histogram


def report_data(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Write the report on `config.data`, as `build.report` does on runs, and log its table.

    Returns the path of the `page`, and the figures of the table by dataset in `data`. Raises
    UserError if there is no data, or no vocabulary to count its tokens with.
    """
    if folders := data_inputs.mixtures(config.data):
        measured, more = _of_mixtures(folders, config.vocabulary)
    else:
        measured, more = _of_samples(config, run.path / layout.REFUSED)
    title = f"{config.title}: data"
    rows = sum(dataset.rows for dataset in measured)
    lede = f"{config.data}: {counted(rows, 'row')}. Lengths are in tokens."
    table = _table(measured)
    blocks = [Heading("Data"), table, Heading("Lengths"), *_lengths(measured), *more, *_paper()]
    page = locations.absolute(run.address / layout.REPORT_HTML)
    rows_text = aligned(table.lines)
    summary = f"{underlined(title, '=')}\n{lede}\n\n{rows_text}\n\n{page}\n"
    path = write(run, title, lede, blocks, summary)
    run.log.info("%s", summary)
    return {
        "page": str(path),
        "data": {dataset.name: _figures(dataset) for dataset in measured},
    }


def _of_mixtures(
    folders: Sequence[epath.Path], vocabulary: str
) -> tuple[list[DataStatistics], list[Block]]:
    measured: list[DataStatistics] = []
    blocks: list[Block] = [Heading("Tasks")]
    for folder in folders:
        data = prepared.open(folder)
        if vocabulary:
            data_inputs.require_digest(vocabulary, data)
        measured.append(measure.of_rows(data))
        if sources := measure.of_sources(data.manifest):
            blocks.append(_sources(sources, folder.name))
        blocks.append(_tasks(data.manifest))
    return measured, blocks


def _of_samples(
    config: ReportConfig, side_file: epath.Path
) -> tuple[list[DataStatistics], list[Block]]:
    refused = RefusedRows(side_file)
    try:
        samples = data_inputs.read_samples(config.data, config.format, refused)
        first = next(samples)
        if config.vocabulary:
            vocabulary = open_vocabulary(hub.local_vocabulary(config.vocabulary))
        else:
            vocabulary = data_inputs.vocabulary_of_samples(config.data, first)
        measured = measure.of_samples(itertools.chain([first], samples), vocabulary)
    finally:
        refused.close()
    lines = tuple(refused.summary())
    return measured, [Notice("Refused rows, which are not counted", lines)] if lines else []


def _table(measured: Sequence[DataStatistics]) -> Table:
    """Return Table 2 of the paper for these datasets."""
    fields = measure.fields_of(measured)
    rows = tuple(
        (
            dataset.name,
            count(dataset.rows),
            measure.options_text(dataset.options),
            *(_cell(dataset.mean(field)) for field in fields),
        )
        for dataset in measured
    )
    return Table(
        f"Rows, options per question ({NO_FIGURE}: free text), and mean tokens of questions with "
        "their options, of answers, and of explanations by kind and author.",
        ("data", "rows", "options", *map(_name, fields)),
        rows,
    )


def _sources(sources: Sequence[DataStatistics], mixture: str) -> Table:
    """Return the means of a mixture by source; its rows on disk do not name their source."""
    fields = measure.fields_of(sources)
    return Table(
        f"Texts of the mixture {mixture} by source, and their mean tokens before truncation.",
        ("source", "texts", *map(_name, fields)),
        tuple(
            (
                dataset.name,
                count(dataset.rows),
                *(_cell(dataset.mean(field)) for field in fields),
            )
            for dataset in sources
        ),
    )


def _cell(mean: float | None) -> str:
    return NO_FIGURE if mean is None else rounded(mean, 1)


def _name(field: Field) -> str:
    kind, author = field
    return f"{kind} by {author}" if author else kind


def _figures(dataset: DataStatistics) -> dict[str, Any]:
    means = {_name(field): dataset.mean(field) for field in measure.fields_of([dataset])}
    return {
        "rows": dataset.rows,
        "options": {str(number): rows for number, rows in sorted(dataset.options.items())},
        "mean_tokens": {name: round(mean, 2) for name, mean in means.items() if mean is not None},
    }


def _lengths(measured: Sequence[DataStatistics]) -> list[Block]:
    """Return a figure and a table for each dataset, or for all of them together."""
    if len(measured) > _SEPARATE:
        measured = [_merged(measured)]
    blocks: list[Block] = []
    for number, dataset in enumerate(measured):
        blocks += [
            Subheading(dataset.name),
            _length_figure(dataset, f"lengths-{number}"),
            _length_table(dataset),
        ]
    return blocks


def _merged(measured: Sequence[DataStatistics]) -> DataStatistics:
    merged = DataStatistics(f"all {len(measured)} datasets")
    for dataset in measured:
        for field, lengths in dataset.lengths.items():
            merged.lengths.setdefault(field, Counter()).update(lengths)
    return merged


def _fields_with_lengths(dataset: DataStatistics) -> list[Field]:
    return [field for field in (TEXT, *measure.fields_of([dataset])) if field in dataset.lengths]


def _length_figure(dataset: DataStatistics, name: str) -> Figure:
    fields = [field for field in _fields_with_lengths(dataset) if field != ANSWER]
    longest = max(percentile(dataset.lengths[field], _WITHIN_AXIS) for field in fields)
    panels = [
        (
            _name(field),
            *measure.histogram(dataset.lengths[field], longest),
            measure.mean(dataset.lengths[field]),
        )
        for field in fields
    ]
    beyond = sum(
        texts
        for field in fields
        for size, texts in dataset.lengths[field].items()
        if size > longest
    )
    caption = f"Text lengths in {dataset.name}: share of texts by number of tokens, with the mean."
    if beyond:
        caption += (
            f" The last bar of each histogram includes longer texts ({count(beyond)} in total)."
        )
    means = ", ".join(f"{title} {mean:.1f}" for title, *_, mean in panels)
    return Figure(
        name=name,
        drawing=figures.histograms(panels, "tokens"),
        caption=caption,
        description=f"Histograms of lengths in {dataset.name}; mean tokens: {means}",
    )


def _length_table(dataset: DataStatistics) -> Table:
    rows = []
    for field in _fields_with_lengths(dataset):
        lengths = dataset.lengths[field]
        percentiles = (percentile(lengths, share) for share in (0.5, 0.95, 1))
        mean = rounded(measure.mean(lengths), 1)
        rows.append((_name(field), count(lengths.total()), mean, *map(count, percentiles)))
    return Table(
        f"Text lengths in {dataset.name}, in tokens.",
        ("field", "texts", "mean", "median", "95th percentile", "maximum"),
        tuple(rows),
    )


def _tasks(manifest: Mapping[str, Any]) -> Table:
    rows: list[tuple[str, ...]] = [
        (task, count(found["texts"]), count(found["tokens"]), "")
        for task, found in manifest["tasks"].items()
    ]
    rows += [
        (task, count(texts), NO_FIGURE, f"dropped: {reason}")
        for task, reasons in manifest["drops"].items()
        for reason, texts in reasons.items()
    ]
    rows += [
        (task, count(texts), NO_FIGURE, f"too long: {policy}")
        for task, policies in manifest.get("too_long", {}).items()
        for policy, texts in policies.items()
        if policy != "drop"  # already counted among the dropped texts
    ]
    header: tuple[str, ...] = ("task", "texts", "tokens", "note")
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    filled = 100 * manifest["tokens"] / (manifest["rows"] * manifest["length"])
    return Table(
        f"Texts of the mixture {manifest['mixture']} by source and form. They are packed into "
        f"{count(manifest['rows'])} rows of {count(manifest['length'])} tokens; {filled:.1f} % of "
        "the positions hold a token.",
        header,
        tuple(rows),
        left=(0, 3),
    )


def _paper() -> list[Block]:
    table = printed.table("data")
    rows = tuple(
        (
            names_of_models.dataset(name),
            *(NO_FIGURE if figure is None else count(int(figure)) for figure in row),
        )
        for name, row in table.rows.items()
    )
    caption = f"{table.heading} ({printed.source()}). {table.note} {NO_FIGURE}: not in the paper."
    header = ("data", *map(names_of_models.data_column, table.columns))
    return [Heading("Data of the paper"), Table(caption, header, rows)]
