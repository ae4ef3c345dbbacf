"""The section on data: size, mean tokens and text lengths of the mixtures that `prepare` wrote."""

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.data import prepared
from teacherlm_jax.errors import UserError
from teacherlm_jax.report import figures, measure, result_shapes
from teacherlm_jax.report.blocks import (
    NO_FIGURE,
    Block,
    Figure,
    Heading,
    Notice,
    Table,
    count,
    percent,
    rounded,
)
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.explanations import KIND_NAMES

_MOST_DRAWN = 12  # mixtures whose lengths one figure shows
_SHAPE = {"texts": int, "tokens": int, "drops": {}}

Mixture = tuple[str, Mapping[str, Any]]  # name on the page, and manifest


def section(runs: Sequence[RunRecord]) -> list[Block]:
    """Return the blocks of the section, none if nothing was prepared.

    All figures are those of the manifests; the rows are not read.
    """
    mixtures: list[Mixture] = []
    problems: list[str] = []
    for run in runs:
        if run.verb == "prepare" and run.finished:
            for name in run.result.get("mixtures", {}):
                manifest, problem = _manifest(run, name)
                mixtures += [(f"{run.name}/{name}", manifest)] if not problem else []
                problems += [f"{run.name}/{name}: {problem}"] if problem else []
    blocks: list[Block] = []
    if mixtures:
        blocks += [_sizes(mixtures), *_means(mixtures), *_figure(mixtures)]
    if problems:
        blocks.append(Notice("Prepared data without a manifest to show", tuple(problems)))
    return [Heading("Data"), *blocks] if blocks else []


def _manifest(run: RunRecord, name: str) -> tuple[Mapping[str, Any], str]:
    """Return the manifest of a mixture, and why it cannot be shown; empty if it can."""
    try:
        manifest = prepared.read_manifest(run.path / name)
    except UserError as error:
        return {}, str(error)
    return manifest, result_shapes.difference(manifest, _SHAPE)


def _sizes(mixtures: Sequence[Mixture]) -> Table:
    rows = []
    for name, manifest in mixtures:
        dropped = sum(sum(reasons.values()) for reasons in manifest["drops"].values())
        counts = (manifest["texts"], dropped, *(manifest[key] for key in ("rows", "length")))
        filled = manifest["tokens"] / (manifest["rows"] * manifest["length"])
        rows.append((name, *map(count, counts), count(manifest["tokens"]), percent(filled)))
    return Table(
        "Prepared data: texts, those dropped, rows and the positions of each, tokens, and per cent "
        "of the positions that hold a token.",
        ("data", "texts", "dropped", "rows", "positions", "tokens", "filled, %"),
        tuple(rows),
    )


def _means(mixtures: Sequence[Mixture]) -> list[Block]:
    """Return the mean tokens of each field; nothing for manifests of earlier versions."""
    statistics = [measure.of_manifest(manifest) for _, manifest in mixtures]
    kinds = list(dict.fromkeys(kind for kind, _ in measure.fields_of(statistics)))
    if not kinds:
        return []
    rows = []
    for (name, manifest), own in zip(mixtures, statistics, strict=True):
        means = {kind: mean for (kind, _), mean in own.means.items()}
        cells = (rounded(means[kind], 1) if kind in means else NO_FIGURE for kind in kinds)
        rows.append((name, *cells, manifest["inputs"]["mixture"]["author"]))
    return [
        Table(
            "Mean tokens of the questions with their options, of the answers, and of each kind of "
            "explanation by its author. To see the lengths of each field, and the same figures for "
            "samples: teacherlm report --data=FOLDER.",
            ("data", *(KIND_NAMES.get(kind, kind) for kind in kinds), "author"),
            tuple(rows),
            left=(0, len(kinds) + 1),
        )
    ]


def _figure(mixtures: Sequence[Mixture]) -> list[Block]:
    """Return histograms of the lengths of texts; none for many mixtures or old manifests."""
    panels = []
    for name, manifest in mixtures:
        if lengths := manifest.get("statistics", {}).get("lengths"):
            counts = lengths["counts"]
            last = max(index for index, texts in enumerate(counts, start=1) if texts)
            mean = manifest["tokens"] / manifest["texts"]
            panels.append((name, lengths["edges"][: last + 1], counts[:last], mean))
    if not 0 < len(panels) <= _MOST_DRAWN:
        return []
    means = ", ".join(f"{name} {mean:.1f}" for name, *_, mean in panels)
    return [
        Figure(
            name="text-lengths",
            drawing=figures.histograms(panels, "tokens"),
            caption="Lengths of the prepared texts: share of texts by number of tokens, with the "
            "mean.",
            description=f"Histograms of the lengths of texts; mean tokens: {means}",
        )
    ]
