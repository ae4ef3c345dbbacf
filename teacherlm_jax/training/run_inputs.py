"""Digests of everything that a training run reads; they identify the run, not the paths."""

from etils import epath

from teacherlm_jax.config import TrainConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.hf import any_model
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


def inputs(config: TrainConfig) -> dict[str, str]:
    """Return the digest of each input by config key.

    The keys are `data` and, where the config sets them, `init_from`, `validation.data` and
    `validation.benchmarks.NAME`. Raises UserError for an input that is missing or damaged; only
    `init_from` may be missing once the run has a checkpoint of its own, which it resumes from.
    """
    validation = config.validation
    digests = {"data": prepared.digest(config.data)}
    if config.init_from:
        digests["init_from"] = _initial_digest(config.init_from, StoragePath(config.output))
    if validation.data:
        digests["validation.data"] = prepared.digest(validation.data)
    for benchmark in validation.benchmarks:
        digest = benchmarks.digest(benchmark, validation.root)
        digests[f"validation.benchmarks.{benchmark.name}"] = digest
    return digests


def _initial_digest(init_from: str, run: epath.Path) -> str:
    """Return the digest of `init_from`, or the recorded one if it is missing in a resumed run."""
    try:
        return any_model.describe(init_from).digest
    except UserError:
        recorded = _recorded(run).get("init_from")
        if recorded is None:
            raise
        return recorded


def _recorded(run: epath.Path) -> dict[str, str]:
    """Return the recorded inputs of a run that has a checkpoint; empty for any other run."""
    saved = any(path.name.isdigit() for path in (run / layout.CHECKPOINTS).glob("*"))
    return files.read_json(run / layout.INPUTS) if saved and (run / layout.INPUTS).exists() else {}
