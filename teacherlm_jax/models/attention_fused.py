"""Attention with the fused TPU kernel, splash attention, which does not support ALiBi itself.

ALiBi enters through extra channels of queries and keys. Along the keys, -slope * (query position -
key position) differs from slope * key position by a constant, which cancels in the softmax; and
slope * key position is a product of a value of the query's head and a value of the key, like that
of any channel. A TPU multiplies bfloat16 numbers with eight significant bits, so both factors are
sums of parts that bfloat16 represents exactly: three parts for the 24 bits of a slope, two for a
position. The six products of parts are six channels. Each product is exact in float32, in which the
kernel sums them; the error is the rounding of sums as large as slope * position, which
docs/explanation/attention.md shows by length.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jaxtyping import Array, Float, Int

from teacherlm_jax import sharding
from teacherlm_jax.errors import UserError

_EXACT = 256  # whole numbers up to here are exact in bfloat16
LONGEST = _EXACT * _EXACT  # tokens of a row
_BLOCKS = (512, 256, 128)  # tokens of a kernel's block; it takes multiples of 128
_REMEDY = (
    "choose 'blockwise' (the key is config.attention in annotate and evaluate, the argument is "
    "attention in teacherlm_jax.load)"
)
_INTERPRETED = contextvars.ContextVar("interpreted", default=False)


def fused(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T N H"],
    v: Float[Array, "B T N H"],
    *,
    alibi_slopes: Float[Array, " N"] | None,
    positions: Int[Array, "B T"],
    segment_ids: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """Implement the contract of `attention.attention` for T up to 65,536, padded to blocks inside.

    The kernel runs on the TPUs of the mesh in context or, without a mesh, on JAX's default backend,
    so programs can also be compiled for absent TPUs. On other platforms, `interpreted` interprets
    the kernel.

    Scores need q / sqrt(H): queries are scaled before the kernel and rounded to their own dtype,
    which is exact if H is a power of four.

    Raises UserError if a row is too long for exact positions or there is no TPU.
    """
    T, H = q.shape[1], q.shape[-1]
    if T > LONGEST:
        raise UserError(
            f"config.model.attention='fused': rows of {T} tokens, expected at most {LONGEST}; "
            f"{_REMEDY}"
        )
    q = (q.astype(jnp.float32) * H**-0.5).astype(q.dtype)
    if alibi_slopes is not None:
        q, k = with_alibi(q, k, alibi_slopes, positions)
    padding = -T % _BLOCKS[-1]
    q, k, v = (_heads_first(x, padding) for x in (q, k, v))
    segments = jnp.pad(segment_ids, ((0, 0), (0, padding)))
    kernel = _kernel(heads=q.shape[1], length=T + padding)
    mixed = jax.vmap(kernel)(q, k, v, splash.SegmentIds(segments, segments))
    return jnp.einsum("BNTH->BTNH", mixed)[:, :T].astype(v.dtype)


def with_alibi(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T N H"],
    slopes: Float[Array, " N"],
    positions: Int[Array, "B T"],
) -> tuple[Float[Array, "B T N H+6"], Float[Array, "B T N H+6"]]:
    """Return queries and keys with products q.k + slope * key position.

    Every appended number is exact in bfloat16, for float32 slopes and positions below 65,536.
    """
    slope_parts, rest = [], slopes.astype(jnp.float32)
    for _ in range(3):
        part = jax.lax.reduce_precision(rest, exponent_bits=8, mantissa_bits=7)
        slope_parts.append(part)
        rest = rest - part
    low = positions % _EXACT
    of_query = jnp.stack([part for part in slope_parts for _ in range(2)], axis=-1)
    of_key = jnp.stack([positions - low, low] * 3, axis=-1)
    channels = (*q.shape[:-1], of_query.shape[-1])
    of_query = jnp.broadcast_to(of_query[None, None], channels).astype(q.dtype)
    of_key = jnp.broadcast_to(of_key[:, :, None], channels).astype(k.dtype)
    return jnp.concatenate([q, of_query], axis=-1), jnp.concatenate([k, of_key], axis=-1)


def _heads_first(x, padding):
    return jnp.pad(jnp.einsum("BTNH->BNTH", x), ((0, 0), (0, 0), (0, padding), (0, 0)))


def _kernel(heads: int, length: int) -> Callable[..., Array]:
    platform = sharding.traced_platform()
    if platform != "tpu" and not _INTERPRETED.get():
        raise UserError(
            "config.model.attention='fused': expected a TPU, but the program runs on "
            f"{platform}; {_REMEDY}"
        )
    block = next(size for size in _BLOCKS if length % size == 0)
    return splash.make_splash_mha(
        mask=splash.MultiHeadMask([splash.CausalMask((length, length))] * heads),
        block_sizes=splash.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_q_dq=block,
            block_kv_dq=block,
        ),
        head_shards=1,
        q_seq_shards=1,
        interpret=platform != "tpu",
    )


@contextlib.contextmanager
def interpreted() -> Iterator[None]:
    """Interpret the kernel in programs that are traced in this context without a TPU."""
    token = _INTERPRETED.set(True)
    try:
        yield
    finally:
        _INTERPRETED.reset(token)
