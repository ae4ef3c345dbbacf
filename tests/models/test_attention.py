"""Comparison of all implementations with attention written as loops and with the reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import alibi, attention_blockwise, attention_cached, attention_fused
from teacherlm_jax.models.attention import IMPLEMENTATIONS, attention

# Largest differences from the reference in float32. The fused kernel adds slope * position to the
# score before the softmax, which rounds the score if that product is large.
TOLERANCE = {"blockwise": 1e-5, "fused": 3e-5}

every_implementation = pytest.mark.parametrize("implementation", sorted(IMPLEMENTATIONS))
every_other = pytest.mark.parametrize("implementation", sorted(TOLERANCE))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Make blocks smaller than the rows, and interpret the TPU kernel."""
    monkeypatch.setattr(attention_blockwise, "CPU_BLOCK", 32)
    monkeypatch.setattr(attention_fused, "_BLOCKS", (128,))
    with attention_fused.interpreted():
        yield


def _rows(texts, length):
    """Return segment ids and positions of rows of text lengths; negative lengths are padding."""
    segment_ids = np.zeros((len(texts), length), np.int32)
    positions = np.zeros((len(texts), length), np.int32)
    for row, lengths in enumerate(texts):
        start = segment = 0
        for tokens in lengths:
            if tokens > 0:
                segment += 1
                segment_ids[row, start : start + tokens] = segment
                positions[row, start : start + tokens] = np.arange(tokens)
            start += abs(tokens)
    return jnp.asarray(segment_ids), jnp.asarray(positions)


# One text, packed texts, padding before and after a text, padding before a text, only padding.
LENGTH = 150
SEGMENTS, POSITIONS = _rows([[150], [31, 33, 1, 64, 21], [-40, 50, 40], [-3, 100], []], LENGTH)


def _random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _qkv(heads, shape=SEGMENTS.shape):
    return tuple(_random(*shape, heads, 8, seed=seed) for seed in range(3))


def _slopes(heads):
    return jnp.asarray(alibi.slopes(heads))


@functools.partial(jax.jit, static_argnames="implementation")
def _attend(q, k, v, slopes, implementation):
    return attention(
        q,
        k,
        v,
        alibi_slopes=slopes,
        positions=POSITIONS,
        segment_ids=SEGMENTS,
        implementation=implementation,
    )


@functools.partial(jax.jit, static_argnames="implementation")
def _value_and_gradients(q, k, v, slopes, weights, implementation):
    attend = functools.partial(_attend, slopes=slopes, implementation=implementation)
    mixed, backward = jax.vjp(attend, q, k, v)
    return mixed, *backward(weights)


def _with_loops(q, k, v, slopes, b, t, n):
    texts, positions = np.asarray(SEGMENTS[b]), np.asarray(POSITIONS[b])
    visible = [s for s in range(LENGTH) if texts[s] == texts[t] and positions[s] <= positions[t]]
    scores = np.array(
        [
            q[b, t, n] @ k[b, s, n] / np.sqrt(q.shape[-1])
            - slopes[n] * (positions[t] - positions[s])
            for s in visible
        ]
    )
    weights = np.exp(scores - scores.max())
    return weights / weights.sum() @ v[b, visible, n]


@every_implementation
def test_attention_equals_its_definition_written_with_loops(implementation):
    arrays = _qkv(heads=3)
    mixed = _attend(*arrays, _slopes(3), implementation)
    exact = [np.asarray(x, np.float64) for x in (*arrays, _slopes(3))]
    tokens = [(b, t) for b in range(len(SEGMENTS)) for t in (0, 31, 40, 102, 149)]
    for b, t in [(b, t) for b, t in tokens if SEGMENTS[b, t]]:
        for n in range(3):
            np.testing.assert_allclose(mixed[b, t, n], _with_loops(*exact, b, t, n), atol=1e-5)


@every_other
@pytest.mark.parametrize(("heads", "biased"), [(3, True), (12, True), (3, False)])
def test_values_and_gradients_equal_the_reference(implementation, heads, biased):
    slopes = _slopes(heads) if biased else None
    real = (SEGMENTS > 0)[..., None, None].astype(jnp.float32)
    weights = _random(len(SEGMENTS), LENGTH, heads, 8, seed=3) * real
    actual, expected = (
        _value_and_gradients(*_qkv(heads), slopes, weights, name)
        for name in (implementation, "xla")
    )
    for array, reference in zip(actual, expected, strict=True):
        np.testing.assert_allclose(array * real, reference * real, atol=TOLERANCE[implementation])


@every_implementation
def test_padding_gives_finite_results_and_gradients(implementation):
    weights = _random(len(SEGMENTS), LENGTH, 3, 8, seed=3)
    results = _value_and_gradients(*_qkv(heads=3), _slopes(3), weights, implementation)
    assert all(bool(jnp.isfinite(result).all()) for result in results)


@every_implementation
def test_no_text_sees_padding_or_another_text(implementation):
    q, k, v = _qkv(heads=3)
    first = np.asarray(SEGMENTS == 1)
    rows = np.asarray(SEGMENTS)[first.any(axis=1)]
    assert (rows[:, 0] == 0).any(), "a row with padding before its first text"
    assert (rows > 1).any(), "a row with several texts"
    altered = [jnp.where(first[..., None, None], x, 7 + 5 * x) for x in (k, v)]
    before, after = (_attend(q, *x, _slopes(3), implementation) for x in ((k, v), altered))
    np.testing.assert_array_equal(before[first], after[first])


@every_implementation
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_slopes_and_positions_are_exact_in_long_texts(implementation, dtype):
    """With zero queries, scores are ALiBi alone; bfloat16 cannot represent 1021 to 1023."""
    length, slopes = 1024, np.array([0.7, 0.01], np.float32)
    segment_ids, positions = _rows([[length]], length)
    k, v = (_random(1, length, 2, 8, seed=seed).astype(dtype) for seed in range(2))
    mixed = jax.jit(functools.partial(attention, implementation=implementation))(
        jnp.zeros_like(k),
        k,
        v,
        alibi_slopes=jnp.asarray(slopes),
        positions=positions,
        segment_ids=segment_ids,
    )
    assert mixed.dtype == dtype
    # The fused kernel holds scores up to 0.7 * 1023, whose float32 resolution is 6e-5.
    atol = 1e-2 if dtype == "bfloat16" else 1e-4 if implementation == "fused" else 1e-5
    for n, slope in enumerate(slopes.astype(np.float64)):
        weights = np.exp(-slope * (length - 1 - np.arange(length)))
        expected = weights / weights.sum() @ np.asarray(v[0, :, n], np.float64)
        np.testing.assert_allclose(np.asarray(mixed[0, -1, n], np.float64), expected, atol=atol)


@every_implementation
@pytest.mark.parametrize("biased", [True, False])
def test_results_on_a_mesh_equal_those_on_one_device_under_scan_and_remat(implementation, biased):
    segment_ids, positions = _rows([[20, 28], [48], [-8, 40], [48]], 48)
    arrays = _qkv(heads=4, shape=segment_ids.shape)

    def loss(q, k, v):
        def layer(q, _):
            mixed = attention(
                q,
                k,
                v,
                alibi_slopes=_slopes(4) if biased else None,
                positions=positions,
                segment_ids=segment_ids,
                implementation=implementation,
            )
            return sharding.constrain(q + mixed, ("batch", "length", "heads", "head_dim")), None

        q, _ = jax.lax.scan(jax.checkpoint(layer, prevent_cse=False), q, length=2)
        return jnp.sum(jnp.sin(q))

    gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))
    value, on_one_device = jax.jit(gradients)(*arrays)
    with jax.set_mesh(sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))):
        program = jax.jit(gradients).lower(*arrays).compile()
        value_on_mesh, on_mesh = program(*arrays)
    np.testing.assert_allclose(value_on_mesh, value, rtol=1e-5)
    for actual, expected in zip(on_mesh, on_one_device, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert "all-gather" not in program.as_text()  # every device computes its own rows and heads


def _folded(array):
    return array.reshape(*array.shape[:-2], -1)


@pytest.mark.parametrize("implementation", ["_by_sums", "_by_matrix_products"])
def test_attention_to_a_cache_equals_attention_of_the_last_query(implementation):
    q, k, v = _qkv(heads=3)
    row = 0  # one text
    expected = _attend(q, k, v, _slopes(3), "xla")[row]
    attend = getattr(attention_cached, implementation)
    for length in (0, 4, LENGTH - 1):
        actual = attend(
            q[None, row, length], _folded(k[:1]), _folded(v[:1]), jnp.array([length]), _slopes(3)
        )
        np.testing.assert_allclose(actual[0], expected[length], atol=1e-6)


def test_attention_to_a_cache_on_a_mesh_equals_that_on_one_device():
    q, k, v = _qkv(heads=4)
    q, k, v = (jnp.concatenate([a, a[::-1]])[:4] for a in (q, k, v))
    lengths = jnp.array([0, 3, 7, LENGTH - 1])

    def attend(q, k, v):
        return attention_cached.attend_to_cache(
            *(q[:, 5], _folded(k)[None], _folded(v)[None], jnp.int32(0)),
            alibi_slopes=_slopes(4),
            lengths=lengths,
        )

    expected = jax.jit(attend)(q, k, v)
    with jax.set_mesh(sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))):
        program = jax.jit(attend).lower(q, k, v).compile()
        np.testing.assert_allclose(program(q, k, v), expected, atol=1e-6)
    assert "all-reduce" not in program.as_text()


def test_an_unknown_implementation_is_refused_with_the_choices():
    with pytest.raises(UserError, match=r"config\.model\.attention='magic': expected one of .*xla"):
        _attend(*_qkv(heads=3), _slopes(3), "magic")


def test_shapes_that_contradict_their_annotations_fail_in_tests():
    q, k, v = _qkv(heads=3)
    with pytest.raises(Exception, match="Type-check error"):
        _attend(q, k[..., 1:], v, _slopes(3), "xla")


@pytest.mark.parametrize("implementation", ["xla", "blockwise"])
def test_attention_over_2048_tokens_matches_float64(implementation):
    length, heads = 2048, 3
    segment_ids, positions = _rows([[length]], length)
    q, k, v = _qkv(heads, shape=(1, length))
    slopes = _slopes(heads)
    actual = jax.jit(functools.partial(attention, implementation=implementation))(
        q, k, v, alibi_slopes=slopes, positions=positions, segment_ids=segment_ids
    )
    distance = np.arange(length)[:, None] - np.arange(length)
    q, k, v, slopes = (np.asarray(array, np.float64) for array in (q, k, v, slopes))
    for n in range(heads):
        scores = q[0, :, n] @ k[0, :, n].T / 8**0.5 - slopes[n] * distance
        weights = np.exp(np.where(distance >= 0, scores, -np.inf))
        expected = weights / weights.sum(1, keepdims=True) @ v[0, :, n]
        np.testing.assert_allclose(actual[0, :, n], expected, rtol=0, atol=1e-5)
