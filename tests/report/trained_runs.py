"""Records of training runs and of evaluations of their checkpoints, with real digests."""

import jax.numpy as jnp

from teacherlm_jax.checkpoints.adapter_origin import model_digest
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.storage import files
from tests.report.answered import CMF, answer


def save(run, value, step=3):
    """Save a checkpoint of one parameter in a run folder; return the digest of its model."""
    checkpoints = Checkpoints(run, keep=2)
    checkpoints.save(step, {"w": jnp.full(2, value)}, None, {})
    checkpoints.wait()
    digest = model_digest(checkpoints.meta(step))
    checkpoints.close()
    return digest


def train(folder, digests=None, **config):
    """Write the records of a finished training run."""
    files.write_json(folder / "config.json", {"verb": "train", "config": {"seed": 0} | config})
    result = {"step": 3, "steps": 3, "tokens": 30, "seconds": 1.0, "loss": 1.0, "parameters": 2}
    result |= {"accuracy": 0.5, "tokens_per_second": 30.0, "checkpoint": ""}
    files.write_json(folder / "result.json", result)
    files.write_json(folder / "inputs.json", {"data": "sha256:data"} | (digests or {}))


def evaluate(folder, model, digest, marks=CMF):
    files.write_json(folder / "config.json", {"verb": "evaluate", "config": {"model": str(model)}})
    measured = {"rows": 200, "accuracy": 0.5, "interval": [0.4, 0.6], "majority": 0.5}
    measured |= {"macro_accuracy": 0.5, "macro_interval": [0.4, 0.6]}
    measured["by_subject"] = {"": {"rows": 200, "accuracy": 0.5}}
    measured |= {"truncated": 0, "refused": 0, "seconds": 1.0}
    result = {"benchmarks": {"generated": measured}, "model": str(model), "step": 3}
    files.write_json(folder / "result.json", result | {"digest": digest})
    answer(folder, marks)


def record(root, name):
    return next(run for run in find_runs(root, None) if run.name == name)


def training_of(root, name):
    training = Lineage(find_runs(root, None)).training_of(record(root, name))
    return training and training.name
