"""The verb `prepare`: raw files to packed rows on disk, one folder for each mixture."""

import contextlib
import itertools
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from teacherlm_jax.config import PrepareConfig, fields
from teacherlm_jax.errors import UserError, at_end
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.beam import Beam
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.tasks import trained_vocabulary
from teacherlm_jax.tasks.in_process import InProcess
from teacherlm_jax.tasks.inputs import finished_manifest, mixture_inputs
from teacherlm_jax.tasks.mixture_folder import read_throughput, remove_unfinished, write_mixture
from teacherlm_jax.tasks.mixtures import text_tasks
from teacherlm_jax.tasks.on_beam import OnBeam
from teacherlm_jax.tasks.preparation_engine import PreparationEngine, WorkFolder
from teacherlm_jax.tasks.survey import survey_all
from teacherlm_jax.tokenization.vocabulary import holds_vocabulary, open_vocabulary


def prepare(config: PrepareConfig, run: Run) -> dict[str, Any] | None:
    """Prepare every mixture of `config` in `config.output/NAME`.

    A mixture that exists already and was prepared from the same inputs is kept. What an interrupted
    run did not finish is removed and prepared again. Rows that cannot be used are listed in
    `config.output/refused.jsonl`. The same files, config and seed give the same bytes.

    Return, for each mixture, its rows, texts, tokens, filled fraction, drops and throughput when
    it was prepared (see `mixture_statistics.ThroughputTimer.figures`); and for the whole run the
    vocabulary's size, the refused rows by reason, the findings in the sources (see
    `survey.Survey`), and the `costs` (see `_costs`). With `config.check_only`, write only the
    findings, to `check.json`, and return None.

    Raises UserError for sources, a vocabulary or mixtures that cannot be used, and for a folder
    that was prepared from other inputs.
    """
    fields.check(config)
    with _engine(config, run) as engine:
        if config.check_only:
            _check(config, run, engine)
            return None
        result = _prepare(config, run, engine)
    WorkFolder(run.address).remove()
    return result


@contextlib.contextmanager
def _engine(config: PrepareConfig, run: Run) -> Iterator[PreparationEngine]:
    """Yield the engine; afterwards, remove what it leaves but a later run cannot use.

    If the run folder is in a bucket, Beam workers use a scratch folder there, and this process one
    in the copy of the run folder.
    """
    with at_end(lambda: _close_work(run)):
        yield (
            OnBeam(Beam(config.runner, config.beam_options), WorkFolder(run.address))
            if config.runner
            else InProcess(WorkFolder(run.path))
        )


def _close_work(run: Run) -> None:
    WorkFolder(run.path).close()
    run.publish()  # raises an error if another process has taken over the run, and so its folder
    WorkFolder(run.address).close()


def _prepare(config: PrepareConfig, run: Run, engine: PreparationEngine) -> dict[str, Any]:
    began = time.monotonic()
    remove_unfinished(run)
    vocabulary = trained_vocabulary.before_survey(config, run)
    survey = survey_all(config, run, engine, vocabulary)
    if vocabulary is None:
        samples = itertools.chain.from_iterable(source.read() for source in survey.sources)
        vocabulary = trained_vocabulary.train(config, samples, run)

    manifests, inputs, tasks = {}, {}, {}
    for mixture in config.mixtures:
        name = mixture.name
        inputs[name] = mixture_inputs(config, mixture, survey.sources, vocabulary)
        manifest = finished_manifest(run.path / name, inputs[name])
        if manifest is not None:
            run.log.info("%s: already prepared", run.path / name)
            manifests[name] = manifest
        else:
            tasks[name] = text_tasks(mixture, survey.sources, vocabulary, config.seed)

    chunks_of = engine.encode([*itertools.chain.from_iterable(tasks.values())], vocabulary)
    for mixture in config.mixtures:
        name = mixture.name
        if name in tasks:
            manifests[name] = write_mixture(
                config, mixture, inputs[name], tasks[name], vocabulary, chunks_of, run
            )
            run.publish()

    throughput = read_throughput(run)
    return {
        "mixtures": {
            mixture.name: _figures(manifests[mixture.name])
            | {"throughput": throughput.get(mixture.name)}
            for mixture in config.mixtures
        },
        "vocabulary_size": vocabulary.size,
        "refused": survey.refused,
        "survey": survey.figures,
        "costs": _costs(run, manifests, tasks, time.monotonic() - began),
    }


def _costs(
    run: Run, manifests: Mapping[str, Any], prepared: Collection[str], seconds: float
) -> dict[str, Any]:
    """Return `texts`, `tokens` and `seconds` of all mixtures, those of earlier commands included.

    Mixtures that an interrupted command finished count with the time in their throughput.

    Args:
        run: the run folder.
        manifests: manifest of each mixture, by name.
        prepared: names of the mixtures that this command prepared.
        seconds: time of this command; if it prepared none, it does not count.
    """
    throughput = read_throughput(run)
    kept = [
        throughput[name]["seconds"]
        for name in manifests
        if name in throughput and name not in prepared
    ]
    earlier = (run.result or {}).get("costs", {}).get("seconds", sum(kept))
    return {
        "texts": sum(manifest["texts"] for manifest in manifests.values()),
        "tokens": sum(manifest["tokens"] for manifest in manifests.values()),
        "seconds": earlier + (seconds if prepared else 0.0),
    }


def _figures(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: manifest[key] for key in ("rows", "texts", "tokens", "filled", "drops")}


def _check(config: PrepareConfig, run: Run, engine: PreparationEngine) -> None:
    """Survey the sources, write the findings, and raise UserError if a source cannot be used."""
    folder, path = config.vocabulary.path, run.path / layout.CHECK
    vocabulary = open_vocabulary(folder) if holds_vocabulary(folder) else None
    survey = survey_all(config, run, engine, vocabulary)
    files.write_json(path, {"refused": survey.refused, "survey": survey.figures})
    unusable: dict[str, str] = survey.figures.get("unusable", {})
    for name, reason in unusable.items():
        count = len(config.sources) + len(config.evaluation)
        raise UserError(
            f"{len(unusable)} of {count} sources cannot be used, for example {name!r}: {reason} "
            f"({path} lists all of them, and the findings in the others)"
        )
