"""The verb `prepare`: raw files to packed rows on disk, one folder for each mixture."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config import MixtureConfig, PrepareConfig, fields
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.data.writer import write_shards
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files
from teacherlm_jax.tasks.beam import Beam
from teacherlm_jax.tasks.chunks import Chunk
from teacherlm_jax.tasks.inputs import already_prepared, inputs
from teacherlm_jax.tasks.mixtures import add_mixture, read_texts, text_tasks
from teacherlm_jax.tasks.seqio_tasks import TextTask
from teacherlm_jax.tasks.survey import survey_all, unsurveyed
from teacherlm_jax.tasks.surveyed_source import Source
from teacherlm_jax.tasks.tally import Clock, Tally
from teacherlm_jax.tasks.workers import Workers, remove_work
from teacherlm_jax.tokenization.vocabulary import (
    Vocabulary,
    held_instead,
    holds_vocabulary,
    open_vocabulary,
    train_sentencepiece,
)

_UNFINISHED = ".partial"  # ends the name of a folder that is being written

_ChunksOf = Callable[[TextTask], Iterator[Chunk]]


def prepare(config: PrepareConfig, run: Run) -> dict[str, Any] | None:
    """Prepares every mixture of `config` in `config.output/NAME`.

    A mixture that is there already, from the same inputs, is left alone; what an interrupted run
    left half done is removed and done again. Rows that cannot be used are listed in
    `config.output/refused.jsonl`. The same files, config and seed give the same bytes.

    Returns, for each mixture, its rows, texts, tokens, filled fraction, drops and the throughput
    when it was prepared (see `tally.Clock.told`), and for the whole the vocabulary's size, the rows
    refused by reason, and what was found in the sources (see `survey.Survey`). With
    `config.check_only` it writes no mixture, trains no vocabulary, and returns nothing: what was
    found stands in `config.output/check.json`.

    Raises UserError for sources, a vocabulary or mixtures that cannot be used, and for a folder
    that was prepared from other inputs.
    """
    fields.check(config)
    with _workers(config) as workers:
        if config.check_only:
            found = _found(config, run, workers)
            files.write_json(run.path / layout.CHECK, found)
            _refuse_unusable(config, found["survey"].get("unusable", {}), run.path / layout.CHECK)
            return None
        result = _prepare_all(config, run, workers)
    remove_work(Path(config.output))
    return result


def _workers(config: PrepareConfig) -> contextlib.AbstractContextManager[Workers | None]:
    if not config.runner:
        return contextlib.nullcontext()
    return Workers(Beam(config.runner, config.beam_options), Path(config.output))


def _found(config: PrepareConfig, run: Run, workers: Workers | None) -> dict[str, Any]:
    """What stands in the sources."""
    folder = config.vocabulary.path
    vocabulary = open_vocabulary(folder) if holds_vocabulary(folder) else None
    survey = survey_all(config, run, vocabulary, workers)
    return {"refused": survey.refused, "survey": survey.figures}


def _prepare_all(config: PrepareConfig, run: Run, workers: Workers | None) -> dict[str, Any]:
    output = Path(config.output)
    for folder in output.glob(f".*{_UNFINISHED}"):
        run.log.info("removing %s, which an interrupted run left", folder)
        shutil.rmtree(folder)
    vocabulary = _vocabulary(config, run)
    _refuse_no_room(config, vocabulary)
    survey = survey_all(config, run, vocabulary, workers)
    manifests = already_prepared(config, survey.sources, vocabulary, run)
    left = [mixture for mixture in config.mixtures if mixture.name not in manifests]
    chunks_of = _tokenised(config, left, survey.sources, vocabulary, workers)
    for mixture in left:
        manifests[mixture.name] = _prepare_mixture(
            config, mixture, survey.sources, vocabulary, chunks_of, run
        )
    throughput = _throughput(output)
    told = ("rows", "texts", "tokens", "filled", "drops")
    return {
        "mixtures": {
            mixture.name: {key: manifests[mixture.name][key] for key in told}
            | {"throughput": throughput.get(mixture.name)}
            for mixture in config.mixtures
        },
        "vocabulary_size": vocabulary.size,
        "refused": survey.refused,
        "survey": survey.figures,
    }


def _tokenised(
    config: PrepareConfig,
    mixtures: Sequence[MixtureConfig],
    sources: Sequence[Source],
    vocabulary: Vocabulary,
    workers: Workers | None,
) -> _ChunksOf | None:
    """What the workers made of the tasks of some mixtures."""
    if workers is None:
        return None
    tasks = [
        task
        for mixture in mixtures
        for task in text_tasks(mixture, sources, vocabulary, config.seed)
    ]
    return workers.tokenise(tasks, vocabulary)


def _refuse_unusable(config: PrepareConfig, unusable: dict[str, str], path: Path) -> None:
    """Raises UserError for a check that found sources of no use."""
    for name, reason in unusable.items():
        count = len(config.sources) + len(config.evaluation)
        raise UserError(
            f"{len(unusable)} of {count} sources cannot be used, such as {name!r}: {reason} "
            f"({path} has all of them, and what was found in the others)"
        )


def _refuse_no_room(config: PrepareConfig, vocabulary: Vocabulary) -> None:
    longest = config.max_tokens or config.length
    if longest <= len(vocabulary.begin):
        raise UserError(
            f"config.max_tokens: {longest} tokens hold no text; {len(vocabulary.begin)} stand "
            "before every text of this vocabulary"
        )


def _vocabulary(config: PrepareConfig, run: Run) -> Vocabulary:
    """Opens the vocabulary, or trains it when it is not there and a size is asked for."""
    folder, size = Path(config.vocabulary.path), config.vocabulary.size
    if holds_vocabulary(folder):
        vocabulary = open_vocabulary(folder)
        run.log.info("vocabulary %s: %s, %d pieces", folder, vocabulary.kind, vocabulary.size)
        return vocabulary
    if not size:
        raise UserError(
            f"config.vocabulary.path: no vocabulary in {str(folder)!r}, found "
            f"{held_instead(folder)}; name a folder that holds one, or have one trained there with "
            "config.vocabulary.size=8000"
        )
    run.log.info("training a vocabulary of at most %d pieces", size)
    texts = (text for sample in unsurveyed(config) for text in _spoken(sample))
    vocabulary = train_sentencepiece(texts, folder, size, config.seed)
    run.log.info("vocabulary %s: %d pieces, new", folder, vocabulary.size)
    return vocabulary


def _spoken(sample: Sample) -> Iterator[str]:
    """Every stretch of text that some form makes of a sample, once."""
    said = {
        piece.text: None
        for kind in KINDS
        for piece in prompts.explanation_pieces(sample, kind, subject_prefix=True)
    }
    yield from said
    for texts in sample.explanations.values():
        for text in texts.values():
            if text.strip():
                yield f" {text.strip()}"


def _prepare_mixture(
    config: PrepareConfig,
    mixture: MixtureConfig,
    sources: Sequence[Source],
    vocabulary: Vocabulary,
    chunks_of: _ChunksOf | None,
    run: Run,
) -> dict[str, Any]:
    """Writes one mixture's folder; returns its manifest."""
    folder = Path(config.output) / mixture.name
    clock = Clock()
    unfinished = folder.with_name(f".{mixture.name}{_UNFINISHED}")
    unfinished.mkdir(parents=True)
    longest = config.max_tokens or config.length
    tally = Tally(mixture.author, longest, mixture.too_long, len(vocabulary.begin))
    registered = add_mixture(mixture, sources, vocabulary, config.seed, chunks_of)
    texts = clock.waiting_for(read_texts(registered, config.seed))
    rows = packing.pack(tally.kept(texts), config.length)
    shards = write_shards(unfinished, rows, config.rows_per_shard)
    if not shards:
        raise UserError(
            f"mixture {mixture.name!r}: no text is left of its sources; dropped: {tally.drops}"
        )
    vocabulary.save(unfinished / layout.VOCABULARY)
    manifest: dict[str, Any] = {"mixture": mixture.name}
    manifest["inputs"] = inputs(config, mixture, sources, vocabulary)
    manifest["length"] = config.length
    manifest |= tally.summary(config.length, shards)
    files.write_json(unfinished / layout.MANIFEST, manifest)
    figures = clock.told(manifest["tokens"])
    path = folder.with_name(layout.THROUGHPUT)
    files.write_json(path, _throughput(folder.parent) | {mixture.name: figures})
    unfinished.rename(folder)
    _log(manifest, figures, run)
    return manifest


def _throughput(output: Path) -> dict[str, Any]:
    """Figures by the name of the mixture, as far as mixtures have been prepared."""
    path = output / layout.THROUGHPUT
    return files.read_json(path) if path.exists() else {}


def _log(manifest: dict[str, Any], figures: dict[str, float], run: Run) -> None:
    run.log.info(
        "%s: %d texts, %d tokens in %d rows of %d (%.1f %% filled); %.2f Mtokens/s, of which "
        "reading and tokenising %.2f, packing and writing %.2f",
        manifest["mixture"],
        manifest["texts"],
        manifest["tokens"],
        manifest["rows"],
        manifest["length"],
        100 * manifest["filled"],
        figures["prepared_mtokens_per_second"],
        figures["tokenised_mtokens_per_second"],
        figures["packed_mtokens_per_second"],
    )
    for task, reasons in manifest["drops"].items():
        for reason, count in reasons.items():
            run.log.info("%s: dropped %d texts of %s: %s", manifest["mixture"], count, task, reason)
    for task, cut in manifest["too_long"].items():
        for policy, count in cut.items():
            if policy != "drop":
                run.log.info(
                    "%s: cut %d texts of %s (%s)", manifest["mixture"], count, task, policy
                )
