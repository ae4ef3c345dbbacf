"""The page for reading and rating explanations: one HTML file that loads nothing."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2

from teacherlm_jax.annotation.gates.text_faults import words
from teacherlm_jax.config import ReportConfig
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.report.explanations import KIND_NAMES
from teacherlm_jax.report.reading import joined_samples
from teacherlm_jax.report.reading.joined_samples import JoinedSamples, key_of
from teacherlm_jax.report.reading.page_key import PageKey
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.wording import counted

_SCRIPTS = ("state.js", "list.js", "reader.js", "rating_files.js", "keys.js")  # the last one starts
FORMAT = 1  # of the page's data and of the ratings that it saves


def report_samples(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Write the page on `config.samples` and log what it shows.

    Returns the path of the `page`, its `digest`, the number of `samples` and `explanations` on it,
    and the number of `rows` by path. Raises UserError as `joined_samples.join` does, and if the
    folder has another page.
    """
    refused = RefusedRows(run.path / layout.REFUSED)
    try:
        joined = joined_samples.join(
            *(config.samples, config.authors),
            limit=config.limit,
            seed=config.seed,
            refused=refused,
        )
    finally:
        refused.close()
    refused.report(run.log)
    data = page_data(joined, config)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    _refuse_other_page(run, digest)
    page = run.path / layout.READING_HTML
    files.write_text(page, html_page(data["title"], text, digest))
    for note in joined.notes:
        run.log.info("%s", note)
    explanations = sum(side != 0 for item in data["items"] for side in item[2:])
    run.log.info(
        "%s: %s, %s%s",
        run.address / layout.READING_HTML,
        counted(len(joined.samples), "sample"),
        counted(explanations, "explanation"),
        " (blind)" if config.blind else "",
    )
    return {
        "page": str(run.address / layout.READING_HTML),
        "digest": digest,
        "samples": len(joined.samples),
        "explanations": explanations,
        "rows": dict(joined.rows),
    }


def _refuse_other_page(run: Run, digest: str) -> None:
    """Raise UserError if the folder has a page of another digest, to which its ratings belong."""
    if run.result is not None and run.result.get("digest", digest) != digest:
        raise UserError(
            f"config.output={run.address}: has a page of other explanations or settings, or of an "
            "earlier version, and ratings belong to one page; choose another config.output"
        )


def page_data(joined: JoinedSamples, config: ReportConfig) -> dict[str, Any]:
    """Return what the page shows, as JSON.

    An item is one sample with the explanations of one kind: index of the sample, index of the kind,
    and left and right explanation (0 if there is none). An explanation is its text, its words, the
    indices of the gates that it fails (null without gates), and, unless the page is blind, its
    tokens and the reason why it ended.
    """
    key = PageKey(joined.teachers, config.blind, config.seed)
    firsts = [next(filter(None, row)) for row in joined.samples]
    sources = sorted({sample.source for sample in firsts})
    gates = _gates(joined)
    items: list[list[Any]] = []
    for index, (row, sample) in enumerate(zip(joined.samples, firsts, strict=True)):
        ordered = [(row[at], joined.teachers[at].author) for at in key.order(key_of(sample))]
        for kind in KINDS:
            sides = [_side(*own, kind, gates, config.blind) for own in ordered]
            if any(sides):
                items.append([index, KINDS.index(kind), *sides])
    return {
        "format": FORMAT,
        "title": config.title if config.title != ReportConfig.title else "Explanations to read",
        "blind": config.blind,
        "key": key.encoded(),
        "names": [] if config.blind else [teacher.name for teacher in joined.teachers],
        "sides": len(joined.teachers),
        "notes": _blind_notes(joined) if config.blind else list(joined.notes),
        "sources": sources,
        "kinds": list(KINDS),
        "kindNames": [KIND_NAMES[kind] for kind in KINDS],
        "gates": gates,
        "samples": [_sample(sample, sources) for sample in firsts],
        "items": items,
    }


def _blind_notes(joined: JoinedSamples) -> list[str]:
    """Return the notes that do not name the teachers."""
    alone = sum(None in row for row in joined.samples)
    return [f"samples with explanations of one teacher only: {alone:,}"] if alone else []


def _gates(joined: JoinedSamples) -> list[str]:
    """Return the names of all gates with a verdict, in the order in which they appear."""
    names: dict[str, None] = {}
    for row in joined.samples:
        for sample in filter(None, row):
            for entry in sample.annotations.values():
                names |= dict.fromkeys(entry["gates"])
    return list(names)


def _sample(sample: Sample, sources: Sequence[str]) -> list[Any]:
    answer = sample.answer_index if sample.options else sample.answer
    source = sources.index(sample.source)
    return [sample.id, source, sample.subject, sample.question, list(sample.options), answer]


def _side(
    sample: Sample | None, author: str, kind: str, gates: Sequence[str], blind: bool
) -> list[Any] | int:
    text = sample.explanations.get(kind, {}).get(author) if sample else None
    if sample is None or text is None:
        return 0
    entry: Mapping[str, Any] = sample.annotations.get(kind, {})
    verdicts = entry.get("gates")
    failed = [gates.index(name) for name, passed in (verdicts or {}).items() if not passed]
    shown = [text, len(words(text)), failed if verdicts else None]
    return shown if blind else [*shown, entry.get("new_tokens"), entry.get("finish_reason", "")]


def html_page(title: str, data: str, digest: str) -> str:
    """Return the page as an HTML document.

    Args:
        title: title of the page.
        data: what it shows, as JSON.
        digest: digest of the data, under which the browser keeps the ratings.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_file("reading.html"))
    return template.render(
        title=title,
        style=_file("reading.css"),
        script="\n".join(map(_file, _SCRIPTS)),
        data=data.replace("<", "\\u003c"),  # so that no text ends the element that holds it
        digest=digest,
    )


@functools.cache
def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
