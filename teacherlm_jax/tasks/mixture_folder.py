"""The folder of one mixture: packed rows, vocabulary and manifest."""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.config import MixtureConfig, PrepareConfig
from teacherlm_jax.data import packing
from teacherlm_jax.data.writer import write_shards
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.tasks.generator_errors import GeneratorErrors
from teacherlm_jax.tasks.mixture_statistics import NO_LOSS, MixtureStatistics, ThroughputTimer
from teacherlm_jax.tasks.mixtures import add_mixture, read_texts
from teacherlm_jax.tasks.preparation_engine import ChunksOf
from teacherlm_jax.tasks.seqio_tasks import TextTask
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from teacherlm_jax.wording import counted


def remove_unfinished(run: Run) -> None:
    """Remove mixtures that an interrupted run did not finish."""
    for folder in run.path.glob(f".*{files.PARTIAL}"):
        run.log.info("removing %s, which an interrupted run did not finish", folder)
        shutil.rmtree(folder)


def write_mixture(
    config: PrepareConfig,
    mixture: MixtureConfig,
    inputs: Mapping[str, Any],
    tasks: Sequence[TextTask],
    vocabulary: Vocabulary,
    chunks_of: ChunksOf,
    run: Run,
) -> dict[str, Any]:
    """Write the folder of one mixture; return its manifest.

    The folder gets its name when it is complete. Raises UserError, and leaves nothing, if no text
    is left for its rows.
    """
    timer = ThroughputTimer()
    folder = run.path / f".{mixture.name}{files.PARTIAL}"
    folder.mkdir(parents=True)
    longest = config.max_tokens or config.length
    statistics = MixtureStatistics(mixture.author, longest, mixture.too_long, len(vocabulary.begin))
    errors = GeneratorErrors()
    registered = add_mixture(
        mixture.name, tasks, vocabulary, lambda task: errors.noting(chunks_of(task))
    )
    texts = timer.waiting_for(errors.raising(read_texts(registered, config.seed)))
    rows = packing.pack(statistics.fitted(texts), config.length)
    shards = write_shards(folder, rows, config.rows_per_shard)
    if not shards:
        shutil.rmtree(folder)
        raise UserError(_no_text(mixture, statistics.drops))
    vocabulary.save(folder / layout.VOCABULARY)
    manifest: dict[str, Any] = {"mixture": mixture.name, "inputs": inputs, "length": config.length}
    manifest |= statistics.summary(config.length, shards)
    files.write_json(folder / layout.MANIFEST, manifest)
    figures = timer.figures(manifest["tokens"])
    files.write_json(run.path / layout.THROUGHPUT, read_throughput(run) | {mixture.name: figures})
    files.publish(folder, run.path / mixture.name)
    _log(manifest, figures, run)
    return manifest


def read_throughput(run: Run) -> dict[str, Any]:
    """Return the throughput of the mixtures prepared so far, by name."""
    path = run.path / layout.THROUGHPUT
    return files.read_json(path) if path.exists() else {}


def _no_text(mixture: MixtureConfig, drops: Mapping[str, Mapping[str, int]]) -> str:
    reasons = {reason for by_reason in drops.values() for reason in by_reason}
    advice = "check the mixture's author and forms"
    if NO_LOSS in reasons:
        advice = (
            "truncation removes every trained token, so raise config.length and "
            f"config.max_tokens, or change the mixture's loss={mixture.loss!r} or "
            f"too_long={mixture.too_long!r}"
        )
    elif any(reason.startswith("longer than") for reason in reasons):
        advice = (
            "raise config.length and config.max_tokens, or change the mixture's "
            f"too_long={mixture.too_long!r}"
        )
    return f"mixture {mixture.name!r}: no text is left to train on; dropped: {drops}; {advice}"


def _log(manifest: Mapping[str, Any], figures: Mapping[str, float], run: Run) -> None:
    run.log.info(
        "%s: %s, %s in %s of %d (%.1f%% filled); %.2f Mtokens/s (reading and "
        "tokenizing %.2f, packing and writing %.2f)",
        manifest["mixture"],
        counted(manifest["texts"], "text"),
        counted(manifest["tokens"], "token"),
        counted(manifest["rows"], "row"),
        manifest["length"],
        100 * manifest["filled"],
        figures["prepared_mtokens_per_second"],
        figures["tokenised_mtokens_per_second"],
        figures["packed_mtokens_per_second"],
    )
    for task, reasons in manifest["drops"].items():
        for reason, count in reasons.items():
            dropped = counted(count, "text")
            run.log.info("%s: dropped %s of %s: %s", manifest["mixture"], dropped, task, reason)
    for task, policies in manifest["too_long"].items():
        for policy, count in policies.items():
            if policy != "drop":
                run.log.info(
                    "%s: %s of %s longer than a row (too_long=%s)",
                    manifest["mixture"],
                    counted(count, "text"),
                    task,
                    policy,
                )
