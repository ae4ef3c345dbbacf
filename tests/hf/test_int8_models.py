"""Models with weights in int8 by all kinds of paths."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import teacherlm_jax
from teacherlm_jax import capacity, sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model


@pytest.fixture
def mesh():
    return sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))


@pytest.fixture
def one_device():
    return sharding.make_mesh(MeshConfig(data=1), jax.devices()[:1])


def parameters(loaded):
    return nnx.to_pure_dict(nnx.state(loaded.model))


@pytest.mark.parametrize("name", ["bloom with an untied head", "opt", "opt like 350m"])
def test_a_hugging_face_folder_and_its_conversion_have_the_same_int8_weights(
    save, pair_of, convert, tmp_path, mesh, name
):
    folder = save(pair_of(name))
    assert convert(folder, tmp_path / "run") == (0, "")
    first, second = (
        any_model.load(path, mesh, dtype="bfloat16", weights="int8")
        for path in (folder, tmp_path / "run")
    )

    def equal(actual, expected):
        np.testing.assert_array_equal(actual, expected)
        assert actual.sharding.is_equivalent_to(expected.sharding, actual.ndim)

    jax.tree.map(equal, parameters(first), parameters(second))
    assert first.weights == second.weights == "int8"
    assert first.digest == any_model.describe(folder).digest
    assert {leaf.dtype.name for leaf in jax.tree.leaves(parameters(first))} == {
        "int8", "float32", "bfloat16"
    }  # fmt: skip


def test_the_logits_are_close_to_those_of_the_exact_weights(save, pair_of, one_device):
    folder, tokens = save(pair_of("bloom")), jnp.arange(2, 26).reshape(2, 12)
    exact, in_int8 = (
        any_model.load(folder, one_device, dtype="float32", weights=weights).model(tokens)
        for weights in ("", "int8")
    )
    off = float(jnp.abs(exact - in_int8).max())
    assert 1e-5 < off < 0.03 * float(jnp.abs(exact).max())


def test_a_folder_fits_if_its_int8_weights_fit(save, pair_of, one_device, monkeypatch):
    folder = save(pair_of("bloom"))
    leaves = jax.tree.leaves(parameters(any_model.load(folder, one_device, weights="int8")))
    size = sum(leaf.nbytes for leaf in leaves)
    monkeypatch.setattr(capacity, "available", lambda device: size)
    any_model.load(folder, one_device, weights="int8")
    with pytest.raises(UserError, match="its parameters need"):
        any_model.load(folder, one_device)


def test_only_int8_is_a_dtype_of_weights(save, pair_of):
    with pytest.raises(UserError, match="weights='int4': expected 'int8', or empty"):
        teacherlm_jax.load(save(pair_of("bloom")), weights="int4")


def test_a_missing_package_is_noticed_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "qwix", None)
    with pytest.raises(UserError, match="pip install -r requirements-int8.txt"):
        teacherlm_jax.load("runs/none", weights="int8")
