"""Loading of tensors onto a mesh: each device gets its shard, and each byte is read once."""

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
from teacherlm_jax.storage import ranges

MESH = MeshConfig(data=2, fsdp=2, tensor=2)


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
def test_parameters_on_eight_devices_equal_those_on_one(pair_of, pairs, name):
    config = pair_of(name).config
    sharded = abstract(config, MESH)
    eight = load(pairs(name), sharded, lambda: None)
    one = load(pairs(name), abstract(config, MeshConfig(), jax.devices()[:1]), lambda: None)
    expected = nnx.to_pure_dict(nnx.state(pair_of(name).model))
    for (path, actual), (_, alone), (_, true), (_, place) in zip(
        *map(named_leaves, (eight, one, expected, sharded)), strict=True
    ):
        np.testing.assert_array_equal(actual, true, path)
        np.testing.assert_array_equal(alone, true, path)
        assert actual.sharding.is_equivalent_to(place.sharding, actual.ndim), path


@pytest.mark.parametrize("mesh", [MESH, MeshConfig(fsdp=8), MeshConfig()], ids=str)
def test_every_byte_is_read_once_on_any_mesh(pair_of, pairs, monkeypatch, mesh):
    sizes = []
    read = ranges.read

    def counted(*arguments):
        block = read(*arguments)
        sizes.append(len(block))
        return block

    actual = pairs("bloom")
    monkeypatch.setattr(ranges, "read", counted)
    load(actual, abstract(pair_of("bloom").config, mesh), lambda: None)
    assert sum(sizes) == sum(tensor.nbytes for _, tensor in actual)


def test_the_host_reads_only_rows_that_its_devices_need(pair_of, pairs, monkeypatch):
    held = {}
    read = StoredTensor.read_columns

    def counted(self, *arguments):
        parts = read(self, *arguments)
        held.setdefault(self.name, []).append(sum(part.size for part in parts))
        return parts

    actual = pairs("bloom")
    monkeypatch.setattr(StoredTensor, "read_columns", counted)
    load(actual, abstract(pair_of("bloom").config, MESH), lambda: None)
    for slot, tensor in actual:
        if slot.name == "word_embeddings.weight" or "dense_h_to_4h.weight" in slot.name:
            assert held[tensor.name] == [math.prod(tensor.shape) // 2] * 2
