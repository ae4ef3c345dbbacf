import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig, OptimizerConfig
from teacherlm_jax.models import registry
from teacherlm_jax.training.optimizer import make_optimizer
from teacherlm_jax.training.state import abstract_state, initial_state
from teacherlm_jax.training.step import batch_shapes, compile_step

CONFIG = ModelConfig(layers=2, width=16, heads=4, vocab_size=48, dtype="float32")
OPTIMIZER = make_optimizer(OptimizerConfig(learning_rate=0.01, clip_norm=0.5), steps=10)


def build(rngs):
    return registry.build(CONFIG, rngs)


def start(mesh_config, seed=0, params=None):
    mesh = sharding.make_mesh(mesh_config)
    graph, abstract = sharding.abstract_model(lambda: build(nnx.Rngs(0)), mesh)
    abstract = abstract_state(abstract, OPTIMIZER, mesh)
    return mesh, graph, abstract, initial_state(build, OPTIMIZER, abstract, seed, params)


@pytest.fixture(scope="module")
def sharded():
    return start(MeshConfig(data=2, fsdp=2, tensor=2))


def test_parameters_and_their_moments_are_created_with_their_shardings(sharded):
    _, _, abstract, state = sharded
    for array, planned in zip(jax.tree.leaves(state), jax.tree.leaves(abstract), strict=True):
        assert array.sharding.is_equivalent_to(planned.sharding, array.ndim)
        assert (array.shape, array.dtype) == (planned.shape, planned.dtype)
    adam = state.opt_state[1][0]
    for tree in (state.params, adam.mu, adam.nu):
        assert tree["embedding"].sharding.spec == PartitionSpec("tensor", "fsdp")
        assert tree["embedding"].addressable_shards[0].data.shape == (24, 8)
    assert int(state.step) == 0


def test_the_seed_alone_decides_the_parameters(sharded):
    same = start(MeshConfig())[3]
    other = start(MeshConfig(), seed=1)[3]
    for ours, again in zip(
        jax.tree.leaves(sharded[3].params), jax.tree.leaves(same.params), strict=True
    ):
        np.testing.assert_array_equal(ours, again)
    assert not np.array_equal(sharded[3].params["embedding"], other.params["embedding"])


def batch_of(loss):
    rng = np.random.default_rng(0)
    return {
        "tokens": rng.integers(1, 48, (4, 8)).astype(np.int32),
        "segment_ids": np.ones((4, 8), np.int32),
        "positions": np.tile(np.arange(8, dtype=np.int32), (4, 1)),
        "loss_mask": np.full((4, 8), loss),
    }


def test_a_step_learns_and_one_without_loss_tokens_changes_nothing():
    mesh, graph, abstract, state = start(MeshConfig(data=2, fsdp=2, tensor=2))
    before = jax.device_get(state.params)
    with jax.set_mesh(mesh):
        step = compile_step(graph, OPTIMIZER, abstract, batch_shapes(4, 8, mesh), mesh, 1024)
        place = sharding.batch_sharding(mesh)
        batches = [jax.device_put(batch_of(loss), place) for loss in (False, True)]
        state, metrics = step(state, batches[0])
        assert metrics.pop("finite").all()
        assert {key: float(value) for key, value in metrics.items()} == {
            "loss": 0,
            "correct": 0,
            "loss_tokens": 0,
            "tokens": 32,
            "grad_norm": 0,
        }
        jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(state.params))
        losses = []
        for _ in range(5):
            state, metrics = step(state, batches[1])
            losses.append(float(metrics["loss"] / metrics["loss_tokens"]))
    assert metrics["loss_tokens"] == 4 * 7
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(np.log(48), rel=0.05)
    assert losses[-1] < losses[0] - 0.1
    assert int(state.step) == 6
