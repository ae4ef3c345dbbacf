"""All sources of a preparation, read once: what is usable, what comes twice, what is tested on."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.config import PrepareConfig, SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.sources.duplicates import Overlap, Questions
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage import refused_rows
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks.surveyed_source import Source, survey
from teacherlm_jax.tasks.tfds_rows import open_rows
from teacherlm_jax.tasks.workers import Surveyed, Workers
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_Read = Callable[[str, int, RefusedRows], Surveyed]  # of a role and a number in it


@dataclasses.dataclass(frozen=True)
class Survey:
    """What was found in the sources of a preparation.

    Attributes:
        sources: ready to be read again.
        refused: rows that cannot be used, by reason.
        figures: plain values for the result: `sources` and `evaluation` by name, with the rows
            read, used and refused of each file; `twice`, samples that stand twice in the sources;
            `evaluated`, samples whose question stands in an evaluation set; of a check,
            `unusable`, why sources by name cannot be used.
    """

    sources: list[Source]
    refused: dict[str, int]
    figures: dict[str, Any]


def survey_all(
    config: PrepareConfig,
    run: Run,
    vocabulary: Vocabulary | None = None,
    workers: Workers | None = None,
) -> Survey:
    """Reads every source, and every evaluation set, from end to end.

    Rows that cannot be used go to `refused.jsonl` in the run folder (`evaluation.refused.jsonl` for
    evaluation sets). The log tells what was found, file by file if `config.check_only`, and warns
    of samples that come twice and of questions that also stand in an evaluation set: neither is
    left out.

    Args:
        config: names the sources.
        run: the run folder.
        vocabulary: counts tokens for `max_tokens`. A check alone may do without: then lengths are
            not looked at, and the log warns of it.
        workers: read the sources side by side; without them it is done here, one after the other.

    Raises UserError for a source that cannot be read, or has no usable row; a check looks at the
    others, too.
    """
    wanted = {"sources": [*config.sources], "evaluation": [*config.evaluation]}
    if config.check_only and vocabulary is None:
        wanted = {role: _without_lengths(sources, run) for role, sources in wanted.items()}
    survey_roles = workers.survey if workers else _one_by_one
    read = survey_roles(wanted, config.root, config.seed, vocabulary)
    unusable: dict[str, str] = {}
    sources, questions, refused = _take(config, "sources", run, layout.REFUSED, read, unusable)
    others, tested, _ = _take(config, "evaluation", run, layout.EVALUATION_REFUSED, read, unusable)
    twice, evaluated = questions.twice(), questions.also_in(tested)
    _warn(twice, evaluated, run)
    figures = {
        "sources": {source.config.name: source.by_file for source in sources},
        "evaluation": {source.config.name: source.by_file for source in others},
        "twice": [_plain(shared) for shared in twice],
        "evaluated": [_plain(shared) for shared in evaluated],
        **({"unusable": unusable} if unusable else {}),
    }
    return Survey(sources, dict(refused.counts), figures)


def _one_by_one(
    wanted: Mapping[str, Sequence[SourceConfig]],
    root: str,
    seed: int,
    vocabulary: Vocabulary | None,
) -> _Read:
    """As `Workers.survey`, in this process, when a source is asked for."""

    def read(role: str, number: int, refused: RefusedRows) -> Surveyed:
        return survey(wanted[role][number], root, refused, seed=seed, vocabulary=vocabulary)

    return read


def unsurveyed(config: PrepareConfig) -> Iterator[Sample]:
    """The samples of all sources before any survey, to train a vocabulary on.

    They are read as they come, whatever their length; rows that cannot be used are passed over. It
    is the survey that files them.
    """
    for source in config.sources:
        of_any_length = dataclasses.replace(source, max_tokens=0)
        reading = SourceReading(of_any_length, config.root, config.seed, open_rows)
        for _, sample in reading.first(RefusedRows(None)):
            yield sample


def _warn(twice: Iterable[Overlap], evaluated: Iterable[Overlap], run: Run) -> None:
    for shared in twice:
        where = "in it" if shared.source == shared.other else f"in {shared.other}"
        run.log.warning(
            "%s: %d samples stand before %s, such as %s", shared.source, shared.count, where, shared
        )
    for shared in evaluated:
        run.log.warning(
            "%s: %d questions stand in the evaluation set %s, such as %s",
            shared.source,
            shared.count,
            shared.other,
            shared,
        )


def _take(
    config: PrepareConfig,
    role: str,
    run: Run,
    side_file: str,
    read: _Read,
    unusable: dict[str, str],
) -> tuple[list[Source], Questions, RefusedRows]:
    """Takes what is found in the sources of a role, in their order, and logs it.

    Those that a check cannot use go to `unusable`, by name, with the reason.
    """
    refused, questions = RefusedRows(run.path / side_file), Questions()
    sources = []
    try:
        for number, wanted in enumerate(getattr(config, role)):
            try:
                source, asked = read(role, number, refused)
            except UserError as error:
                if not config.check_only:
                    raise
                unusable[wanted.name] = str(error)
                run.log.warning("%s: cannot be used: %s", wanted.name, error)
                continue
            sources.append(source)
            questions.extend(asked)
            run.log.info("%s: %d samples", source.config.name, source.samples)
            for warning in source.warnings:
                run.log.warning("%s: %s", source.config.name, warning)
            if config.check_only:
                _log_files(source, run)
    finally:
        refused.close()
    refused.report(run.log, level=logging.INFO)
    return sources, questions, refused


def _without_lengths(wanted: Sequence[SourceConfig], run: Run) -> list[SourceConfig]:
    """The sources, their limits of tokens left out, which only a vocabulary can count."""
    limited = [source.name for source in wanted if source.max_tokens]
    if limited:
        run.log.warning(
            "max_tokens of %d sources, such as %s, is not looked at, since there is no vocabulary "
            "yet",
            len(limited),
            limited[0],
        )
    return [dataclasses.replace(source, max_tokens=0) for source in wanted]


def _log_files(source: Source, run: Run) -> None:
    for file, found in source.by_file.items():
        refused = sum(found["refused"].values())
        run.log.info(
            "  %s: %d rows read, %d used, %d refused", file, found["read"], found["used"], refused
        )
        for line in refused_rows.summary(found["refused"]):
            run.log.info("    %s", line)


def _plain(shared: Overlap) -> dict[str, Any]:
    return {
        "source": shared.source,
        "other": shared.other,
        "count": shared.count,
        "first": [[str(here), str(there)] for here, there in shared.places],
    }
