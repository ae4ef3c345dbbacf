"""Digests of everything that a training run reads; they identify the run, not the paths."""

from pathlib import Path

from teacherlm_jax.config import TrainConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.hf import any_model
from teacherlm_jax.storage import files


def inputs(config: TrainConfig) -> dict[str, str]:
    """Return the digest of each input by config key.

    The keys are `data` and, where the config sets them, `init_from`, `validation.data` and
    `validation.benchmarks.NAME`. Raises UserError for an input that is missing or damaged.
    """
    validation = config.validation
    digests = {"data": prepared.open(config.data).digest}
    if config.init_from:
        digests["init_from"] = any_model.describe(config.init_from).digest
    if validation.data:
        digests["validation.data"] = prepared.open(validation.data).digest
    for benchmark in validation.benchmarks:
        path = Path(validation.root) / benchmark.path
        digests[f"validation.benchmarks.{benchmark.name}"] = files.file_digest(path)
    return digests
