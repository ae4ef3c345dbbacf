"""A LoRA run with random adapters, as training writes it, without training."""

import dataclasses

import jax
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.adapter_origin import AdapterOrigin
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.hf import any_model
from teacherlm_jax.models import adapter, registry
from teacherlm_jax.runs import layout


def write_run(folder, base, lora, seed=0, scale=0.2):
    """Write a run folder with adapters for the model at `base`; return the folder."""
    described = any_model.describe(base)
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    _, abstract = adapter.split(registry.abstract(described.config, mesh, lora)[1])
    keys = iter(jax.random.split(jax.random.key(seed), 100))
    adapters = jax.tree.map(
        lambda leaf: scale * jax.random.normal(next(keys), leaf.shape), abstract
    )
    folder.mkdir(parents=True)
    described.vocabulary.save(folder / layout.VOCABULARY)
    origin = AdapterOrigin(lora, any_model.base_of(base, folder))
    meta = {
        "model": dataclasses.asdict(described.config),
        "vocabulary": described.vocabulary.digest,
        **origin.to_meta(),
    }
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(0, adapters, None, meta)
    checkpoints.close()
    return folder


def load(path):
    return any_model.load(
        path, sharding.make_mesh(MeshConfig(), jax.devices()[:1]), dtype="float32"
    )


def parameters(path):
    return nnx.to_pure_dict(nnx.state(load(path).model))
