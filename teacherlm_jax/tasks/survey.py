"""All sources of a preparation in one pass: usable rows, duplicates and contamination."""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config import PrepareConfig, SourceConfig
from teacherlm_jax.errors import ExplainedError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.sources.duplicates import Overlap, Questions, SharedSample
from teacherlm_jax.sources.raw_rows import RowLocation
from teacherlm_jax.storage import refused_rows
from teacherlm_jax.storage.growing import GrowingRows
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks.preparation_engine import PreparationEngine, ReadSurvey
from teacherlm_jax.tasks.surveyed_source import SurveyedSource, SurveySettings
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from teacherlm_jax.wording import counted

_SHOWN_FILES = 10  # of each source, in the log of a check


@dataclasses.dataclass(frozen=True)
class Survey:
    """Findings in the sources of a preparation.

    Attributes:
        sources: the surveyed sources, in the order of the config.
        refused: number of rows that cannot be used, by reason.
        figures: plain values for the result: `sources` and `evaluation` by name, with the rows
            read, used and refused of each file; `twice`, duplicate samples; `evaluated`, samples
            whose question is also in an evaluation set; and for a check `unusable`, the reason by
            name of each source that cannot be used.
    """

    sources: list[SurveyedSource]
    refused: dict[str, int]
    figures: dict[str, Any]


def survey_all(
    config: PrepareConfig, run: Run, engine: PreparationEngine, vocabulary: Vocabulary | None = None
) -> Survey:
    """Read every source and every evaluation set from start to end.

    Rows that cannot be used are written to `refused.jsonl` in the run folder, those of evaluation
    sets to `evaluation.refused.jsonl`. The log shows the number of samples of each source (and of
    each file if `config.check_only`), and warns of duplicates and of contamination. Both stay in
    the data, and all of them are listed in `overlaps.jsonl`.

    Args:
        config: names the sources.
        run: the run folder.
        engine: surveys the sources, in this process or on workers.
        vocabulary: counts tokens for `max_tokens`. Only a check works without it: it then ignores
            the limit and logs a warning.

    Raises UserError for a source that cannot be read or has no usable row. A check looks at all
    other sources first.
    """
    by_role = {"sources": [*config.sources], "evaluation": [*config.evaluation]}
    if config.check_only and vocabulary is None:
        by_role = {role: _without_max_tokens(sources, run) for role, sources in by_role.items()}
    settings = SurveySettings(config.root, config.seed, vocabulary)
    read = engine.survey(by_role, settings, keep=not config.check_only)
    overlaps = _OverlapFile(run.path / layout.OVERLAPS)
    unusable: dict[str, str] = {}
    sources, questions, refused = _collect(config, "sources", run, read, unusable)
    others, tested, _ = _collect(config, "evaluation", run, read, unusable)
    try:
        twice = questions.twice(functools.partial(overlaps.add, "duplicate"))
        evaluated = questions.also_in(tested, functools.partial(overlaps.add, "evaluation"))
    finally:
        overlaps.close()
    _warn(twice, evaluated, run)
    figures = {
        "sources": {source.config.name: source.by_file for source in sources},
        "evaluation": {source.config.name: source.by_file for source in others},
        "twice": [_plain(shared) for shared in twice],
        "evaluated": [_plain(shared) for shared in evaluated],
        **({"unusable": unusable} if unusable else {}),
    }
    return Survey(sources, dict(refused.counts), figures)


_SIDE_FILES = {"sources": layout.REFUSED, "evaluation": layout.EVALUATION_REFUSED}


def _collect(
    config: PrepareConfig, role: str, run: Run, read: ReadSurvey, unusable: dict[str, str]
) -> tuple[list[SurveyedSource], Questions, RefusedRows]:
    """Collect and log the survey of each source in a role, in the order of the config.

    Sources that cannot be used are added to `unusable` with the reason if `config.check_only`.
    """
    refused, questions = RefusedRows(run.path / _SIDE_FILES[role]), Questions()
    sources = []
    try:
        for index, source_config in enumerate(getattr(config, role)):
            try:
                source, asked = read(role, index, refused)
            except ExplainedError as error:
                if not config.check_only:
                    raise
                reason = str(error).replace(str(run.path), str(run.address))
                unusable[source_config.name] = reason
                run.log.warning("%s: cannot be used: %s", source_config.name, error)
                continue
            sources.append(source)
            questions.extend(asked)
            run.log.info("%s: %s", source.config.name, counted(source.samples, "sample"))
            for line in _imported_lines(source):
                run.log.info("%s: %s", source.config.name, line)
            for warning in source.warnings:
                run.log.warning("%s: %s", source.config.name, warning)
            if config.check_only:
                _log_files(source, run)
    finally:
        refused.close()
    refused.report(run.log, level=logging.INFO)
    return sources, questions, refused


def _without_max_tokens(sources: Sequence[SourceConfig], run: Run) -> list[SourceConfig]:
    limited = [source.name for source in sources if source.max_tokens]
    if limited:
        run.log.warning(
            "max_tokens of %s, for example %s, is ignored: counting tokens needs the vocabulary, "
            "which has not been trained yet",
            counted(len(limited), "source"),
            limited[0],
        )
    return [dataclasses.replace(source, max_tokens=0) for source in sources]


def _warn(twice: Iterable[Overlap], evaluated: Iterable[Overlap], run: Run) -> None:
    for shared in twice:
        own = shared.source == shared.other
        run.log.warning(
            "%s: %s: %d, for example %s",
            shared.source,
            "duplicate samples" if own else f"duplicates of samples in {shared.other}",
            shared.count,
            shared,
        )
    for shared in evaluated:
        run.log.warning(
            "%s: questions that also appear in the evaluation set %s (contamination): %d, for "
            "example %s",
            shared.source,
            shared.other,
            shared.count,
            shared,
        )


class _OverlapFile:
    """The file of all duplicates and contaminated samples; there is none without any."""

    def __init__(self, path: Path):
        self._path = path
        self._rows: GrowingRows | None = None
        path.unlink(missing_ok=True)

    def add(self, kind: str, shared: SharedSample) -> None:
        """Append a sample with both locations."""
        if self._rows is None:
            self._rows = GrowingRows(self._path)
        row = {"kind": kind, "source": shared.source, **_place("", shared.here)}
        self._rows.add(row | {"other": shared.other, **_place("other_", shared.there)})

    def close(self) -> None:
        """Close the file."""
        if self._rows is not None:
            self._rows.close()


def _place(prefix: str, location: RowLocation) -> dict[str, Any]:
    return {f"{prefix}file": location.file, f"{prefix}line": location.line}


def _imported_lines(source: SurveyedSource) -> Iterator[str]:
    for kind, authors in source.imported.items():
        for author, count in authors.items():
            yield f"further explanations, {kind}: {count} by {author}"


def _log_files(source: SurveyedSource, run: Run) -> None:
    """Log the figures of at most ten files, those with the most refused rows."""
    refused = {file: sum(row["refused"].values()) for file, row in source.by_file.items()}
    most = set(sorted(refused, key=lambda file: -refused[file])[:_SHOWN_FILES])
    for file in source.by_file:
        if file not in most:
            continue
        figures = source.by_file[file]
        run.log.info(
            "  %s: %s read, %d used, %d refused",
            file,
            counted(figures["read"], "row"),
            figures["used"],
            refused[file],
        )
        for line in refused_rows.summary(figures["refused"]):
            run.log.info("    %s", line)
    if left := len(refused) - len(most):
        rest = sum(count for file, count in refused.items() if file not in most)
        run.log.info(
            "  %s with %s refused; see %s",
            counted(left, "more file"),
            counted(rest, "row"),
            run.address / layout.CHECK,
        )


def _plain(shared: Overlap) -> dict[str, Any]:
    return {
        "source": shared.source,
        "other": shared.other,
        "count": shared.count,
        "first": [[str(here), str(there)] for here, there in shared.places],
    }
