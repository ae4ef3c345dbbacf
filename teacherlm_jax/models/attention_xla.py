"""Reference implementation of the contract in `attention.py`: all scores at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Score of a key that a query must not see. Finite, so that a row or block without any visible key
# does not give NaN.
MASKED_SCORE = -1e30


def xla(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T N H"],
    v: Float[Array, "B T N H"],
    *,
    alibi_slopes: Float[Array, " N"] | None,
    positions: Int[Array, "B T"],
    segment_ids: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """Compute the scores of all pairs of query and key, [B N T T], and leave the rest to XLA.

    The division by the softmax's sum comes after the product with the values, as in flash
    attention (arXiv 2205.14135): the backward pass keeps one array of that size less.
    """
    distance = positions[:, None, :, None] - positions[:, None, None, :]
    same = segment_ids[:, None, :, None] == segment_ids[:, None, None, :]
    scores = jnp.einsum("BTNH,BSNH->BNTS", q, k, preferred_element_type=jnp.float32)
    scores = scores * q.shape[-1] ** -0.5
    if alibi_slopes is not None:
        scores = scores - alibi_slopes[None, :, None, None] * distance.astype(jnp.float32)
    scores = jnp.where(same & (distance >= 0), scores, MASKED_SCORE)
    highest = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - highest)
    mixed = jnp.einsum(
        "BNTS,BSNH->BTNH", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
    )
    return (mixed / jnp.einsum("BNTS->BTN", weights)[..., None]).astype(v.dtype)
