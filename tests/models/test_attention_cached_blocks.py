import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.models import alibi, attention_cached
from teacherlm_jax.models.attention_cached_blocks import attend_by_blocks


def _slopes(heads):
    return jnp.asarray(alibi.slopes(heads))


def _folded(array):
    return array.reshape(*array.shape[:-2], -1)


def _by_blocks(q, k, v, lengths, layer=1):
    """Attend to one of two layers; the other one is not a number."""
    folded = (_folded(a) for a in (k, v))
    caches = (jnp.stack([jnp.full_like(a, jnp.nan), a]) for a in folded)
    return attend_by_blocks(q, *caches, jnp.int32(layer), lengths, _slopes(3))


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("room", [6, 31, 32, 33, 75])
def test_attention_in_blocks_equals_attention_to_the_whole_cache(rows, room):
    keys = jax.random.split(jax.random.key(0), 3)
    q = jax.random.normal(keys[0], (rows, 3, 8))
    k, v = (jax.random.normal(key, (rows, room, 3, 8)) for key in keys[1:])
    lengths = jnp.array([room - 1, 0, room // 2, 5, room - 2])[:rows]
    expected = attention_cached._by_sums(q, _folded(k), _folded(v), lengths, _slopes(3))
    np.testing.assert_allclose(_by_blocks(q, k, v, lengths), expected, atol=1e-6)


def test_attention_in_blocks_does_not_depend_on_the_neighbouring_rows():
    keys = jax.random.split(jax.random.key(0), 3)
    q = jax.random.normal(keys[0], (4, 3, 8))
    k, v = (jax.random.normal(key, (4, 100, 3, 8)) for key in keys[1:])
    attend = jax.jit(_by_blocks)
    expected = attend(q, k, v, jnp.array([9, 9, 70, 70]))
    order = jnp.array([0, 2, 1, 3])
    actual = attend(q[order], k[order], v[order], jnp.array([9, 70, 9, 70]))
    np.testing.assert_array_equal(actual[order], expected)
