"""The verb `prepare`: raw files to packed rows on disk, one folder for each mixture."""

import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax import fields, files
from teacherlm_jax.config import MixtureConfig, PrepareConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.data.vocabulary import (
    Vocabulary,
    holds_vocabulary,
    open_vocabulary,
    train_sentencepiece,
)
from teacherlm_jax.data.writer import MANIFEST, write_shards
from teacherlm_jax.errors import UserError
from teacherlm_jax.run import Run
from teacherlm_jax.tasks.mixtures import add_mixture, read_texts, used_sources
from teacherlm_jax.tasks.sources import Source, survey

_UNFINISHED = ".partial"  # ends the name of a folder that is being written


def prepare(config: PrepareConfig, run: Run) -> dict[str, Any]:
    """Prepares every mixture of `config` in `config.output/NAME`.

    A mixture that is there already, from the same inputs, is left alone; what an interrupted run
    left half done is removed and done again. Rows that cannot be used are listed in
    `config.output/refused.jsonl`. The same files, config and seed give the same bytes.

    Returns, for each mixture, its rows, texts, tokens, filled fraction and drops, and for the whole
    the vocabulary's size and the rows refused by reason. Raises UserError for sources, a vocabulary
    or mixtures that cannot be used, and for a folder that was prepared from other inputs.
    """
    fields.check(config)
    output = Path(config.output)
    for left in output.glob(f".*{_UNFINISHED}"):
        run.log.info("removing %s, which an interrupted run left", left)
        shutil.rmtree(left)
    sources, refused = _survey(config, output / "refused.jsonl", run)
    vocabulary = _vocabulary(config, sources, run)
    manifests = {
        mixture.name: _prepare_mixture(config, mixture, sources, vocabulary, run)
        for mixture in config.mixtures
    }
    told = ("rows", "texts", "tokens", "filled", "drops")
    return {
        "mixtures": {
            name: {key: manifest[key] for key in told} for name, manifest in manifests.items()
        },
        "vocabulary_size": vocabulary.size,
        "refused": dict(refused.counts),
    }


def _survey(
    config: PrepareConfig, side_file: Path, run: Run
) -> tuple[list[Source], files.RefusedRows]:
    refused = files.RefusedRows(side_file)
    sources = []
    try:
        for source in config.sources:
            sources.append(survey(source, config.root, refused))
            run.log.info("%s: %d samples", source.name, sources[-1].samples)
    finally:
        refused.close()
    for reason, count in refused.counts.items():
        run.log.info("refused %d rows: %s (see %s)", count, reason, side_file)
    return sources, refused


def _vocabulary(config: PrepareConfig, sources: Sequence[Source], run: Run) -> Vocabulary:
    """Opens the vocabulary, or trains it when it is not there and a size is asked for."""
    folder, size = Path(config.vocabulary.path), config.vocabulary.size
    if holds_vocabulary(folder):
        vocabulary = open_vocabulary(folder)
        run.log.info("vocabulary %s: %s, %d pieces", folder, vocabulary.kind, vocabulary.size)
        return vocabulary
    if not size:
        raise UserError(
            f"config.vocabulary.path: no vocabulary in {str(folder)!r}; name a folder that holds "
            "one, or have one trained there with config.vocabulary.size=8000"
        )
    run.log.info("training a vocabulary of at most %d pieces", size)
    texts = (text for source in sources for sample in source.read() for text in _spoken(sample))
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
    run: Run,
) -> dict[str, Any]:
    """Writes one mixture's folder, or finds it written; returns its manifest."""
    folder = Path(config.output) / mixture.name
    inputs = _inputs(config, mixture, used_sources(mixture, sources), vocabulary)
    if folder.exists():
        return _already_prepared(folder, inputs, run)
    start = time.perf_counter()
    unfinished = folder.with_name(f".{mixture.name}{_UNFINISHED}")
    unfinished.mkdir(parents=True)
    tally = _Tally(config.max_tokens or config.length)
    registered = add_mixture(mixture, sources, vocabulary, config.seed)
    rows = packing.pack(tally.kept(read_texts(registered, config.seed)), config.length)
    shards = write_shards(unfinished, rows, config.rows_per_shard)
    if not shards:
        raise UserError(
            f"mixture {mixture.name!r}: no text is left of its sources; dropped: {tally.drops}"
        )
    vocabulary.save(unfinished / "vocabulary")
    manifest = {"mixture": mixture.name, "inputs": inputs, "length": config.length}
    manifest |= tally.summary(config.length, shards)
    files.write_json(unfinished / MANIFEST, manifest)
    unfinished.rename(folder)
    _log(manifest, time.perf_counter() - start, run)
    return manifest


def _inputs(
    config: PrepareConfig,
    mixture: MixtureConfig,
    sources: Sequence[Source],
    vocabulary: Vocabulary,
) -> dict[str, Any]:
    """Everything that decides a mixture's bytes, and nothing else."""
    return {
        "mixture": dataclasses.asdict(mixture)
        | {"sources": [source.config.name for source in sources], "forms": list(mixture.forms)},
        "sources": [
            dataclasses.asdict(source.config)
            | {"samples": source.samples, "refused": source.refused, "digests": source.digests}
            for source in sources
        ],
        "vocabulary": {"size": vocabulary.size, "digest": vocabulary.digest},
        "prompt_version": prompts.PROMPT_VERSION,
        "length": config.length,
        "max_tokens": config.max_tokens or config.length,
        "rows_per_shard": config.rows_per_shard,
        "seed": config.seed,
    }


def _already_prepared(folder: Path, inputs: dict[str, Any], run: Run) -> dict[str, Any]:
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder}: is there but was not written by `prepare` (no {MANIFEST}); "
            "remove it or choose another name"
        )
    manifest = files.read_json(folder / MANIFEST)
    earlier = manifest["inputs"]
    other = [key for key in inputs if earlier.get(key) != inputs[key]]
    if other:
        raise UserError(
            f"{folder}: was prepared from other inputs ({', '.join(other)}); "
            "choose another config.output, or remove the folder to prepare it again"
        )
    run.log.info("%s: already prepared", folder)
    return manifest


class _Tally:
    """Counts the texts of a mixture on their way into the rows.

    Attributes:
        drops: texts left out, by task and reason.
    """

    def __init__(self, longest: int):
        self._longest = longest
        self._tasks: dict[str, dict[str, int]] = {}
        self.drops: dict[str, dict[str, int]] = {}

    def kept(self, texts: Iterator[Any]) -> Iterator[packing.Encoded]:
        """Yields the texts that go into rows: those that exist and are not too long."""
        for text in texts:
            size = len(text.encoded.tokens)
            drop = text.drop
            if size > self._longest:
                drop = f"longer than {self._longest} tokens"
            if drop:
                reasons = self.drops.setdefault(text.task, {})
                reasons[drop] = reasons.get(drop, 0) + 1
                continue
            counts = self._tasks.setdefault(text.task, {"texts": 0, "tokens": 0})
            counts["texts"] += 1
            counts["tokens"] += size
            yield text.encoded

    def summary(self, length: int, shards: list[dict[str, Any]]) -> dict[str, Any]:
        """The manifest's figures."""
        rows = sum(shard["records"] for shard in shards)
        tokens = sum(counts["tokens"] for counts in self._tasks.values())
        return {
            "rows": rows,
            "texts": sum(counts["texts"] for counts in self._tasks.values()),
            "tokens": tokens,
            "filled": round(tokens / (rows * length), 4),
            "tasks": dict(sorted(self._tasks.items())),
            "drops": dict(sorted(self.drops.items())),
            "shards": shards,
        }


def _log(manifest: dict[str, Any], seconds: float, run: Run) -> None:
    run.log.info(
        "%s: %d texts, %d tokens in %d rows of %d (%.1f %% filled), %.0f tokens/s",
        manifest["mixture"],
        manifest["texts"],
        manifest["tokens"],
        manifest["rows"],
        manifest["length"],
        100 * manifest["filled"],
        manifest["tokens"] / seconds,
    )
    for task, reasons in manifest["drops"].items():
        for reason, count in reasons.items():
            run.log.info("%s: dropped %d texts of %s: %s", manifest["mixture"], count, task, reason)
