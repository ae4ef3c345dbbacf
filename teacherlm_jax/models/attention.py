"""The one attention contract, its plain implementation, and attention to a cache."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from teacherlm_jax.errors import UserError

_MASKED = -1e30  # finite, so that a row without any visible key gives no NaN


def attention(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B S N H"],
    v: Float[Array, "B S N H"],
    *,
    alibi_slopes: Float[Array, "N"],
    query_positions: Int[Array, "B T"],
    key_positions: Int[Array, "B S"],
    query_segment_ids: Int[Array, "B T"],
    key_segment_ids: Int[Array, "B S"],
    implementation: str = "xla",
) -> Float[Array, "B T N H"]:
    """Causal softmax attention with ALiBi over packed texts.

    The contract that every implementation keeps:

    - A query sees a key iff both have the same segment id and the key's position is not behind the
      query's. Positions count from 0 within each text; a text's tokens are in order in its row.
    - Scores are q.k / sqrt(H) - slope * (query position - key position). An implementation may
      drop what is constant along S, which the softmax removes: the key's position alone is enough.
    - Segment 0 is padding. What padding's queries give is unspecified but finite, and so are the
      gradients through it; no other query sees padding.
    - Scores, ALiBi and softmax are float32; the result has v's dtype.

    Raises:
      UserError: no implementation has this name.
    """
    check(implementation)
    return IMPLEMENTATIONS[implementation](
        q,
        k,
        v,
        alibi_slopes=alibi_slopes,
        query_positions=query_positions,
        key_positions=key_positions,
        query_segment_ids=query_segment_ids,
        key_segment_ids=key_segment_ids,
    )


def check(implementation: str) -> None:
    """Raises a UserError unless an implementation has this name."""
    if implementation not in IMPLEMENTATIONS:
        raise UserError(
            f"config.model.attention={implementation!r}: wanted one of "
            f"{', '.join(sorted(IMPLEMENTATIONS))}"
        )


def _xla(
    q, k, v, *, alibi_slopes, query_positions, key_positions, query_segment_ids, key_segment_ids
):
    """Holds the scores of all query/key pairs, [B N T S].

    The division by the softmax's sum comes after the mixing of values, as in flash attention
    (arXiv 2205.14135): one array of that size less to keep for the backward pass.
    """
    distance = query_positions[:, None, :, None] - key_positions[:, None, None, :]
    same = query_segment_ids[:, None, :, None] == key_segment_ids[:, None, None, :]
    bias = -alibi_slopes[None, :, None, None] * distance.astype(jnp.float32)
    bias = jnp.where(same & (distance >= 0), bias, _MASKED)
    scores = jnp.einsum("BTNH,BSNH->BNTS", q, k, preferred_element_type=jnp.float32)
    scores = scores * q.shape[-1] ** -0.5 + bias
    highest = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - highest)
    mixed = jnp.einsum("BNTS,BSNH->BTNH", weights.astype(v.dtype), v)
    return (mixed / jnp.einsum("BNTS->BTN", weights)[..., None]).astype(v.dtype)


IMPLEMENTATIONS = {"xla": _xla}


def attend_to_cache(
    q: Float[Array, "B N H"],
    k: Float[Array, "B S N H"],
    v: Float[Array, "B S N H"],
    *,
    alibi_slopes: Float[Array, "N"],
    lengths: Int[Array, "B"],
) -> Float[Array, "B N H"]:
    """Each row's newest query over that row's cache: the same maths as `attention`.

    The query's own key is entry `lengths[b]`; entries behind it are not read. One query a row is
    bound by the reading of keys and values, so this multiplies and sums instead of calling a matrix
    product, which XLA fuses with taking a layer out of the cache (twice as fast on a CPU).
    """
    distance = lengths[:, None] - jnp.arange(k.shape[1])[None, :]
    bias = -alibi_slopes[None, None, :] * distance.astype(jnp.float32)[:, :, None]
    scores = jnp.sum(q.astype(jnp.float32)[:, None] * k.astype(jnp.float32), axis=-1)
    scores = scores * q.shape[-1] ** -0.5 + bias
    scores = jnp.where((distance >= 0)[:, :, None], scores, _MASKED)
    weights = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    mixed = jnp.sum(weights[..., None] * v.astype(jnp.float32), axis=1)
    return (mixed / jnp.sum(weights, axis=1)[..., None]).astype(v.dtype)
