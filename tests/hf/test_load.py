"""Tensors on their way to the mesh: every device gets its part, and no more is read."""

import math

import jax
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.fingerprint import named_leaves
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.hf import tensor_check, weights
from teacherlm_jax.hf.lazy_tensor import StoredTensor
from teacherlm_jax.hf.load import load
from teacherlm_jax.models import registry

CUT = MeshConfig(data=2, fsdp=2, tensor=2)


def abstract(config, mesh, devices=None):
    mesh = sharding.make_mesh(mesh, devices)
    return sharding.abstract_model(lambda: registry.build(config, nnx.Rngs(0)), mesh)[1]


@pytest.fixture
def pairs(pair_of, save):
    def of(name):
        folder = save(pair_of(name))
        return tensor_check.matched(folder, pair_of(name).config, weights.open_weights(folder))

    return of


@pytest.mark.parametrize("name", ["bloom", "opt like 350m"])
def test_a_mesh_of_eight_holds_what_one_device_does(pair_of, pairs, name):
    config = pair_of(name).config
    cut = abstract(config, CUT)
    eight = load(pairs(name), cut, lambda: None)
    one = load(pairs(name), abstract(config, MeshConfig(), jax.devices()[:1]), lambda: None)
    wanted = nnx.to_pure_dict(nnx.state(pair_of(name).ours))
    for (path, found), (_, alone), (_, true), (_, place) in zip(
        *map(named_leaves, (eight, one, wanted, cut)), strict=True
    ):
        np.testing.assert_array_equal(found, true, path)
        np.testing.assert_array_equal(alone, true, path)
        assert found.sharding.is_equivalent_to(place.sharding, found.ndim), path


@pytest.mark.parametrize("mesh", [CUT, MeshConfig(fsdp=8), MeshConfig()], ids=str)
def test_every_byte_is_read_once_whatever_the_mesh(pair_of, pairs, monkeypatch, mesh):
    sizes = []
    fromfile = np.fromfile

    def counted(*arguments, **keywords):
        block = fromfile(*arguments, **keywords)
        sizes.append(block.nbytes)
        return block

    found = pairs("bloom")
    monkeypatch.setattr(np, "fromfile", counted)
    load(found, abstract(pair_of("bloom").config, mesh), lambda: None)
    assert sum(sizes) == sum(tensor.nbytes for _, tensor in found)


def test_the_host_holds_the_rows_that_some_devices_need(pair_of, pairs, monkeypatch):
    held = {}
    read = StoredTensor.read_columns

    def counted(self, *arguments):
        parts = read(self, *arguments)
        held.setdefault(self.name, []).append(sum(part.size for part in parts))
        return parts

    found = pairs("bloom")
    monkeypatch.setattr(StoredTensor, "read_columns", counted)
    load(found, abstract(pair_of("bloom").config, CUT), lambda: None)
    for slot, tensor in found:
        if slot.name == "word_embeddings.weight" or "dense_h_to_4h.weight" in slot.name:
            assert held[tensor.name] == [math.prod(tensor.shape) // 2] * 2
