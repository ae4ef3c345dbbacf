import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.training.loss import next_token_loss, next_tokens, token_losses

B, T, D, V = 8, 11, 6, 16


class Table:
    """The least that the loss needs of a model: an embedding in, the same table out."""

    def __init__(self, table):
        self.table = table

    def hidden(self, tokens, positions, segment_ids):
        return self.table[tokens] + 0.1 * positions[..., None]

    def logits(self, hidden):
        return jnp.einsum("...D,VD->...V", hidden, self.table)


def random_batch(seed=0):
    rng = np.random.default_rng(seed)
    segments = np.repeat([[1] * 4 + [2] * 5 + [0] * 2], B, axis=0)
    return {
        "tokens": rng.integers(1, V, (B, T)).astype(np.int32),
        "positions": np.repeat([[0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 0]], B, axis=0).astype(np.int32),
        "segment_ids": segments.astype(np.int32),
        "loss_mask": (rng.random((B, T)) < 0.7) & (segments > 0),
    }


@pytest.fixture
def table():
    return jax.random.normal(jax.random.key(1), (V, D))


def plain_loss(table, batch):
    """The definition, in numpy and float64, token by token."""
    model = Table(table)
    hidden = model.hidden(batch["tokens"], batch["positions"], batch["segment_ids"])
    logits = np.asarray(model.logits(hidden), np.float64)
    total, correct, count = 0.0, 0, 0
    for row in range(B):
        for t in range(1, T):
            segments = batch["segment_ids"][row]
            if not batch["loss_mask"][row, t] or segments[t] != segments[t - 1]:
                continue
            scores, target = logits[row, t - 1], batch["tokens"][row, t]
            total += np.log(np.sum(np.exp(scores - scores.max()))) + scores.max() - scores[target]
            correct += scores.argmax() == target
            count += 1
    return total, correct, count


def test_the_loss_is_the_definition(table):
    batch = random_batch()
    loss, parts = next_token_loss(Table(table), batch, block=B * T)
    total, correct, count = plain_loss(table, batch)
    assert count > 20
    assert parts["loss_tokens"] == count
    assert parts["correct"] == correct
    assert parts["tokens"] == B * 9
    np.testing.assert_allclose(parts["loss"], total, rtol=1e-5)
    np.testing.assert_allclose(loss, total / count, rtol=1e-5)


@pytest.mark.parametrize("block", [1, 3 * B, 4 * B + 1, (T - 1) * B])
def test_blocks_give_the_direct_loss_and_gradient(table, block):
    batch = random_batch()

    def value_and_gradient(block):
        return jax.value_and_grad(lambda table: next_token_loss(Table(table), batch, block)[0])(
            table
        )

    direct, direct_gradient = value_and_gradient(B * T)
    loss, gradient = value_and_gradient(block)
    np.testing.assert_allclose(loss, direct, rtol=1e-5)
    np.testing.assert_allclose(gradient, direct_gradient, rtol=1e-5, atol=1e-7)


def test_blocks_never_hold_the_logits_of_the_batch(table):
    batch = random_batch()

    def arrays_of_all_logits(block):
        graph = jax.make_jaxpr(
            jax.grad(lambda table: next_token_loss(Table(table), batch, block)[0])
        )(table)
        return f"{B},{T},{V}" in str(graph)

    assert arrays_of_all_logits(B * T)
    assert not arrays_of_all_logits(4 * B)


@pytest.mark.parametrize("block", [2 * B, B * T])
def test_a_cut_vocabulary_and_batch_give_the_same_loss_and_gradient(table, block):
    batch = random_batch()

    def loss_of(table):
        return next_token_loss(Table(table), batch, block)[0]

    expected, expected_gradient = jax.value_and_grad(loss_of)(table)
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    cut = jax.sharding.PartitionSpec("tensor", "fsdp")
    with jax.set_mesh(mesh):
        placed = jax.device_put(table, jax.sharding.NamedSharding(mesh, cut))
        loss, gradient = jax.jit(jax.value_and_grad(loss_of))(placed)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-7)


def test_the_first_token_of_a_text_bears_no_loss():
    batch = random_batch() | {"loss_mask": np.ones((B, T), bool)}
    targets, bears_loss = next_tokens(batch)
    expected = [True] * 3 + [False] + [True] * 4 + [False] * 3
    assert bears_loss[0].tolist() == expected
    assert targets[:, :-1].tolist() == batch["tokens"][:, 1:].tolist()


@pytest.mark.parametrize("block", [B, B * T])
def test_a_batch_without_loss_tokens_gives_zero_and_no_nan(table, block):
    batch = random_batch() | {"loss_mask": np.zeros((B, T), bool)}
    loss, gradient = jax.value_and_grad(
        lambda table: next_token_loss(Table(table), batch, block)[0]
    )(table)
    assert loss == 0
    assert not np.any(np.asarray(gradient))


def test_large_logits_overflow_nowhere():
    logits = jnp.array([[[1e4, -1e4, 0.0]]])
    loss, correct = token_losses(logits, jnp.array([[1]]))
    assert loss.tolist() == [[2e4]]
    assert correct.tolist() == [[False]]
