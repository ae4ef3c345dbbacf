import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig, OptimizerConfig, TrainConfig
from teacherlm_jax.models import registry
from teacherlm_jax.training.loss import next_token_loss
from teacherlm_jax.training.setup import compile_for, make_model_spec
from teacherlm_jax.training.state import initial_state

ROWS, LENGTH, VOCABULARY = 8, 16, 64
MODEL = ModelConfig(layers=2, width=16, heads=8, vocab_size=VOCABULARY, dtype="float32")
CONFIG = TrainConfig(
    model=MODEL, optimizer=OptimizerConfig(1e-2), batch_size=ROWS, steps=4, loss_block=24
)


def batch(ragged=True):
    """Rows of two texts each; with `ragged`, lengths and trained tokens differ by row."""
    rng = np.random.default_rng(0)
    ends = rng.integers(8, LENGTH + 1, ROWS) if ragged else np.full(ROWS, LENGTH)
    place = np.arange(LENGTH)
    segments = np.where(place < 6, 1, 2) * (place < ends[:, None])
    positions = np.where(place < 6, place, place - 6) * (segments > 0)
    return {
        "tokens": (rng.integers(1, VOCABULARY, (ROWS, LENGTH)) * (segments > 0)).astype(np.int32),
        "segment_ids": segments.astype(np.int32),
        "positions": positions.astype(np.int32),
        "loss_mask": (rng.random((ROWS, LENGTH)) < (0.7 if ragged else 2)) & (segments > 0),
    }


def after_one_step(rows, mesh=None, corrupt=None, **changes):
    """Return the metrics of one step, and AdamW's first moments: a tenth of the gradient."""
    config = dataclasses.replace(CONFIG, **changes)
    mesh = sharding.make_mesh(mesh or MeshConfig(data=8))
    with jax.set_mesh(mesh):
        spec = make_model_spec(config.model, mesh, config.optimizer, config.steps)
        state = initial_state(spec.build, spec.optimizer, spec.abstract, seed=0)
        if corrupt is not None:
            table = state.params["embedding"].at[corrupt].set(np.nan)
            state = dataclasses.replace(state, params={**state.params, "embedding": table})
        step = compile_for(config, spec, mesh, LENGTH)
        placed = jax.device_put(rows, sharding.batch_sharding(mesh))
        state, metrics = step(state, placed)
        adam = next(
            part for part in jax.tree.leaves(state.opt_state, is_leaf=lambda x: hasattr(x, "mu"))
            if hasattr(part, "mu")
        )  # fmt: skip
        return jax.device_get((metrics, adam.mu))


def largest_difference(one, other):
    """Return the largest difference of two trees, relative to each array's largest value."""
    differences = jax.tree.map(
        lambda a, b: np.abs(a - b).max() / max(np.abs(b).max(), 1e-30), one, other
    )
    return max(jax.tree.leaves(differences))


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_equal_the_whole_batch(parts):
    mesh = MeshConfig(data=2, fsdp=1, tensor=4)
    expected, gradient = after_one_step(batch(), mesh)
    metrics, accumulated = after_one_step(batch(), mesh, accumulate=parts)
    assert largest_difference(accumulated, gradient) < 1e-6
    for key in ("loss", "correct", "loss_tokens", "tokens", "grad_norm"):
        assert metrics[key] == pytest.approx(expected[key], rel=1e-6), key


@pytest.mark.parametrize(
    "shape",
    [(8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2)],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_meshes_agree_on_loss_and_gradients(shape):
    with jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.devices()[:1])):
        expected, gradient = _on_one_device()
    metrics, sharded = after_one_step(batch(), MeshConfig(*shape))
    assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert largest_difference(sharded, gradient) < 1e-5


@functools.cache
def _on_one_device():
    """Loss and gradient by the definition, on one device and without an optimizer."""

    def build():
        return registry.build(MODEL, nnx.Rngs(params=jax.random.key(0)))

    rows = jax.tree.map(jnp.asarray, batch())
    graph, state = nnx.split(jax.jit(build)())
    params = nnx.to_pure_dict(state)

    def loss_of(params):
        return next_token_loss(nnx.merge(graph, params), rows, CONFIG.loss_block)

    gradient, metrics = jax.jit(jax.grad(loss_of, has_aux=True))(params)
    norm = np.sqrt(sum(float(np.sum(np.square(leaf))) for leaf in jax.tree.leaves(gradient)))
    clipped = min(1.0, CONFIG.optimizer.clip_norm / norm)
    return jax.device_get((metrics, jax.tree.map(lambda leaf: 0.1 * clipped * leaf, gradient)))


@pytest.mark.parametrize("parts", [1, 4])
def test_rows_for_which_the_model_outputs_nan_are_marked(parts):
    rows = batch(ragged=False)
    rows["tokens"][rows["tokens"] == 7] = 8
    rows["tokens"][5, 3] = 7
    mesh = MeshConfig(data=2, fsdp=1, tensor=4)
    metrics, _ = after_one_step(rows, mesh, corrupt=7, accumulate=parts)
    assert np.isnan(metrics["loss"])
    assert metrics["finite"].tolist() == [row != 5 for row in range(ROWS)]
