import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig, TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.training.loss import cross_entropy, next_token_loss, next_tokens

B, T, E, V = 8, 11, 8, 16
BLOOM_VOCABULARY = 250_880


class Table:
    """Minimal model for the loss: an embedding that is also the output head."""

    def __init__(self, table):
        self.table = table

    def hidden(self, tokens, positions, segment_ids):
        return self.table[tokens] + 0.1 * positions[..., None].astype(jnp.float32)

    def head_table(self):
        return self.table


def random_batch(seed=0, **changes):
    rng = np.random.default_rng(seed)
    segments = np.repeat([[1] * 4 + [2] * 5 + [0] * 2], B, axis=0)
    batch = {
        "tokens": rng.integers(1, V, (B, T)).astype(np.int32),
        "positions": np.repeat([[0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 0]], B, axis=0).astype(np.int32),
        "segment_ids": segments.astype(np.int32),
        "loss_mask": (rng.random((B, T)) < 0.7) & (segments > 0),
    }
    return jax.tree.map(jnp.asarray, batch | changes)


@pytest.fixture
def table():
    return jax.random.normal(jax.random.key(1), (V, E))


def random_states(rows=B, length=T, vocabulary=V, dtype=jnp.float32):
    """Hidden states, table, targets and a mask of the trained ones."""
    keys = jax.random.split(jax.random.key(2), 4)
    return (
        jax.random.normal(keys[0], (rows, length, E)).astype(dtype),
        jax.random.normal(keys[1], (vocabulary, E)),
        jax.random.randint(keys[2], (rows, length), 0, vocabulary),
        jax.random.uniform(keys[3], (rows, length)) < 0.7,
    )


def direct_loss(hidden, table, targets, in_loss):
    """The definition: all logits, log_softmax, the mean over the trained tokens."""
    logits = jnp.einsum("BTE,VE->BTV", hidden, table.astype(hidden.dtype))
    logs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    of_targets = jnp.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
    return -jnp.sum(of_targets * in_loss.astype(of_targets.dtype)) / _count(in_loss)


def _count(in_loss):
    return jnp.maximum(jnp.sum(in_loss, dtype=jnp.float32), 1.0)


def blockwise_loss(block):
    def loss(hidden, table, targets, in_loss):
        total, _ = cross_entropy(hidden, table, targets, in_loss, block)
        return total / _count(in_loss)

    return loss


def value_and_gradients(loss, arrays):
    """Return the loss and its gradients with respect to hidden states and table."""
    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*arrays)
    return jax.device_get((value, *gradients))


def assert_agree(actual, expected):
    """Compare each row of each array, to 1e-5 of the row's norm."""
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        one, other = np.atleast_1d(one).astype(np.float64), np.atleast_1d(other).astype(np.float64)
        error, size = (np.linalg.norm(x, axis=-1) for x in (one - other, other))
        assert np.all(error <= 1e-5 * size), np.max(error[size > 0] / size[size > 0])


def placed(arrays, mesh):
    """Hidden states, table, targets and mask on the mesh as a training step has them."""
    rows = sharding.batch_sharding(mesh)
    sharded = NamedSharding(mesh, PartitionSpec("tensor", "fsdp"))
    return jax.device_put(arrays, (rows, sharded, rows, rows))


def plain_loss(table, batch):
    """The definition, in numpy and float64, token by token."""
    hidden = Table(table).hidden(batch["tokens"], batch["positions"], batch["segment_ids"])
    batch = jax.device_get(batch)
    logits = np.asarray(hidden, np.float64) @ np.asarray(table, np.float64).T
    total, correct, count = 0.0, 0, 0
    for row in range(B):
        for t in range(1, T):
            segments = batch["segment_ids"][row]
            if not batch["loss_mask"][row, t] or segments[t] != segments[t - 1]:
                continue
            scores, target = logits[row, t - 1], batch["tokens"][row, t]
            total += np.log(np.sum(np.exp(scores - scores.max()))) + scores.max() - scores[target]
            correct += int(scores.argmax() == target)
            count += 1
    return total, correct, count


@pytest.mark.parametrize("block", [7, B * T])
def test_the_loss_matches_its_definition(table, block):
    batch = random_batch()
    loss, parts = next_token_loss(Table(table), batch, block)
    total, correct, count = plain_loss(table, batch)
    assert count > 20
    assert parts["loss_tokens"] == count
    assert parts["correct"] == correct
    assert parts["tokens"] == B * 9
    np.testing.assert_allclose(parts["loss"], total, rtol=1e-5)
    np.testing.assert_allclose(loss, total / count, rtol=1e-5)


@pytest.mark.parametrize("block", [1, 30, B * T - 1, 10 * B * T])
def test_blocks_give_the_direct_loss_and_gradients(block):
    arrays = random_states()
    actual = value_and_gradients(blockwise_loss(block), arrays)
    assert_agree(actual, value_and_gradients(direct_loss, arrays))


@pytest.mark.parametrize("mesh", [(1, 1, 1), (1, 1, 8), (2, 2, 2), (1, 8, 1), (8, 1, 1)])
def test_every_mesh_gives_the_direct_loss_and_gradients(mesh):
    arrays = random_states()
    expected = value_and_gradients(direct_loss, arrays)
    count = int(np.prod(mesh))
    mesh = sharding.make_mesh(MeshConfig(*mesh), jax.devices()[:count])
    with jax.set_mesh(mesh):
        actual = value_and_gradients(blockwise_loss(3), placed(arrays, mesh))
    assert_agree(actual, expected)


@pytest.mark.parametrize("mesh", [None, (1, 1, 8), (2, 2, 2)])
def test_blooms_vocabulary_gives_the_direct_loss_and_gradients(mesh):
    arrays = random_states(rows=4, length=8, vocabulary=BLOOM_VOCABULARY)
    expected = value_and_gradients(direct_loss, arrays)
    if mesh is None:
        actual = value_and_gradients(blockwise_loss(12), arrays)
    else:
        mesh = sharding.make_mesh(MeshConfig(*mesh))
        with jax.set_mesh(mesh):
            actual = value_and_gradients(blockwise_loss(3), placed(arrays, mesh))
    assert_agree(actual, expected)


def gradients_of_model(loss):
    """Return the loss of a small model and its gradients with respect to all parameters."""
    config = ModelConfig(
        layers=2, width=16, heads=2, vocab_size=V, dtype="float32", initializer_range=0.2
    )
    graph, state = nnx.split(registry.build(config, nnx.Rngs(0)))
    return jax.jit(jax.value_and_grad(lambda state: loss(nnx.merge(graph, state))))(state)


def direct_model_loss(model, batch):
    hidden = model.hidden(batch["tokens"], batch["positions"], batch["segment_ids"])
    return direct_loss(hidden, model.head_table(), *next_tokens(batch))


def test_a_whole_model_has_the_direct_gradients():
    batch = random_batch()
    actual = gradients_of_model(lambda model: next_token_loss(model, batch, 20)[0])
    expected = gradients_of_model(lambda model: direct_model_loss(model, batch))
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert jnp.linalg.norm((one - other).ravel()) <= 1e-5 * jnp.linalg.norm(other.ravel())


def test_bfloat16_states_have_gradients_of_bfloat16s_precision():
    arrays = random_states(dtype=jnp.bfloat16)
    loss, of_hidden, of_table = value_and_gradients(blockwise_loss(30), arrays)
    assert (of_hidden.dtype, of_table.dtype) == (jnp.bfloat16, jnp.float32)
    exact = (arrays[0].astype(jnp.float32), arrays[1].astype(jnp.bfloat16).astype(jnp.float32))
    expected = value_and_gradients(direct_loss, (*exact, *arrays[2:]))
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5)
    for one, other in zip((of_hidden, of_table), expected[1:], strict=True):
        assert np.linalg.norm(one.astype(np.float32) - other) <= 2**-8 * np.linalg.norm(other)


def test_the_value_alone_costs_one_product():
    def operations(function):
        arrays = random_states(vocabulary=1024)
        return jax.jit(function).lower(*arrays).compile().cost_analysis()["flops"]

    product = 2 * B * T * E * 1024
    both = operations(jax.value_and_grad(blockwise_loss(B * T), argnums=(0, 1)))
    assert 3 * product <= both < 4 * product
    assert product <= operations(blockwise_loss(B * T)) < 2 * product


@pytest.mark.parametrize(("mesh", "gathers"), [((1, 1, 8), 0), ((1, 8, 1), 1), ((2, 2, 2), 1)])
def test_no_device_holds_all_logits_of_a_sharded_vocabulary(mesh, gathers):
    """The table and its gradient cross the mesh at most once, and outside the blocks."""
    vocabulary, block = 4096, 5
    mesh = sharding.make_mesh(MeshConfig(*mesh))
    arrays = placed(random_states(vocabulary=vocabulary), mesh)
    gradient = jax.value_and_grad(blockwise_loss(block), argnums=(0, 1))
    kept = tuple(array.sharding for array in arrays[:2])
    with jax.set_mesh(mesh):
        compiled = jax.jit(gradient, out_shardings=(None, kept)).lower(*arrays).compile()
    program = compiled.as_text()
    part = vocabulary // mesh.shape["tensor"]
    sizes = [
        np.prod([int(size) for size in shape.split(",")])
        for shape in re.findall(r"f32\[([\d,]+)\]", program)
    ]
    assert max(sizes) == part * max(block, E)
    whole = rf"f32\[{part},{E}\]\S* all-gather\("
    assert len(re.findall(whole, program)) == gathers
    in_blocks, main = program.split("\nENTRY ")
    assert re.search(whole, in_blocks) is None
    crossing = rf"f32\[{part},\d+\]\S* (all-reduce|reduce-scatter)\("
    assert re.search(crossing, in_blocks) is None
    assert len(re.findall(crossing, main)) <= 2


def test_eight_thousand_tokens_need_less_than_a_tenth_of_the_direct_memory():
    """As the compiler reports for the width of BLOOM 560M; nothing is run."""
    shape = jax.ShapeDtypeStruct
    arrays = (
        shape((4, 2048, 1024), jnp.float32),
        shape((BLOOM_VOCABULARY, 1024), jnp.float32),
        shape((4, 2048), jnp.int32),
        shape((4, 2048), jnp.bool_),
    )

    def memory(loss):
        gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        return gradients.lower(*arrays).compile().memory_analysis().temp_size_in_bytes

    def lean(hidden, table, targets, in_loss):
        logits = jnp.einsum("BTE,VE->BTV", hidden, table)
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, targets)
        return jnp.sum(losses * in_loss.astype(losses.dtype))

    blockwise = memory(blockwise_loss(TrainConfig.loss_block))
    assert blockwise < 0.1 * min(memory(direct_loss), memory(lean))


def test_the_first_token_of_a_text_is_not_trained():
    batch = random_batch(loss_mask=np.ones((B, T), bool))
    targets, in_loss = next_tokens(batch)
    expected = [True] * 3 + [False] + [True] * 4 + [False] * 3
    assert in_loss[0].tolist() == expected
    assert targets[:, :-1].tolist() == batch["tokens"][:, 1:].tolist()


def test_the_mean_of_one_loss_token_is_its_loss(table):
    mask = np.zeros((B, T), bool)
    mask[2, 3] = True
    loss, parts = next_token_loss(Table(table), random_batch(loss_mask=mask), B * T)
    assert parts["loss_tokens"] == 1
    assert loss == parts["loss"] > 0


@pytest.mark.parametrize("block", [B, B * T])
def test_a_batch_without_loss_tokens_gives_zero_and_no_nan(table, block):
    batch = random_batch(loss_mask=np.zeros((B, T), bool))
    loss, gradient = jax.value_and_grad(
        lambda table: next_token_loss(Table(table), batch, block)[0]
    )(table)
    assert loss == 0
    assert not np.any(np.asarray(gradient))


def test_large_logits_do_not_overflow():
    hidden, table = jnp.array([[[1e4]]]), jnp.array([[1.0], [-1.0], [0.0]])
    gradient = jax.value_and_grad(cross_entropy, argnums=(0, 1), has_aux=True)
    (loss, correct), (of_hidden, of_table) = gradient(
        hidden, table, jnp.array([[1]]), jnp.array([[True]]), 1
    )
    assert loss == 2e4 and correct == 0
    assert of_hidden.tolist() == [[[2.0]]]
    assert of_table.tolist() == [[1e4], [-1e4], [0.0]]


def test_a_vocabulary_that_the_mesh_does_not_divide_is_refused_by_name():
    arrays = random_states(vocabulary=V + 1)
    mesh = sharding.make_mesh(MeshConfig(data=1, fsdp=1, tensor=8))
    with jax.set_mesh(mesh), pytest.raises(UserError, match="head table: axis 'vocab' of size"):
        cross_entropy(*arrays, 30)
