"""Helpers for tests of conversions: load models, and edit or damage folders."""

import jax
import numpy as np
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.saved_model import load_model
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.storage import files, objects

MESH_FLAGS = ("--config.mesh.fsdp=4", "--config.mesh.tensor=2")


NORM = "transformer.h.1.input_layernorm.weight"


def loaded(run):
    mesh = sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1])
    return load_model(run, mesh, dtype="float32")


def parameters(model):
    return nnx.to_pure_dict(nnx.state(model))


def assert_same(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def edit_config(**changes):
    def edit(folder):
        path = folder / "config.json"
        files.write_json(path, files.read_json(path) | changes)

    return edit


def edit_weights(change):
    def edit(folder):
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return edit


def cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def put(folder, address):
    """Copy a folder to the bucket."""
    for path in folder.iterdir():
        objects.upload(path, f"{address}/{path.name}")
    return address


def fetched(address, folder):
    """Copy a folder from the bucket."""
    folder.mkdir()
    for name in objects.listing(address):
        objects.download(f"{address}/{name}", folder / name)
    return folder


def as_bin(folder, pair, torch):
    """Replace the weights by one `.bin` file."""
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    torch.save(pair.reference.state_dict(), folder / "pytorch_model.bin")
