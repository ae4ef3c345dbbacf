"""Attention over keys and values that were computed before: the KV cache, and shared prefixes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int

from teacherlm_jax import sharding
from teacherlm_jax.models.attention_cached_blocks import attend_by_blocks, biased
from teacherlm_jax.models.attention_xla import MASKED_SCORE


def attend_to_cache(
    q: Float[Array, "B N H"],
    k: Float[Array, "L B S D"],
    v: Float[Array, "L B S D"],
    layer: Int[Array, ""],
    *,
    alibi_slopes: Float[Array, " N"] | None,
    lengths: Int[Array, " B"],
    window: int | None = None,
) -> Float[Array, "B N H"]:
    """Compute attention of each row's newest query over that row's cache, like `attention`.

    The query's own key is entry `lengths[b]`; later entries are ignored. On a mesh in context each
    device computes its own rows and heads.

    Args:
        q: the queries of one layer.
        k: keys of all layers with all heads in one axis, D = N * H, as in `KVCache`.
        v: values, like `k`.
        layer: the layer.
        alibi_slopes: slopes of ALiBi, if any.
        lengths: index of each query's own key.
        window: number of entries that GPUs and TPUs read, more than all of `lengths`; None: all. A
            CPU reads only the entries that are needed.
    """

    def local(q, k, v, slopes, layer, lengths):
        def in_window(attend):
            def on_device(q, k, v, layer, lengths):
                return attend(q, k[layer, :, :window], v[layer, :, :window], lengths, slopes)

            return on_device

        def on_cpu(q, k, v, layer, lengths):
            return attend_by_blocks(q, k, v, layer, lengths, slopes)

        return jax.lax.platform_dependent(
            *(q, k, v, layer, lengths),
            cpu=on_cpu,
            tpu=in_window(_by_matrix_products),
            default=in_window(_by_sums),
        )

    arrays = (q, k, v, alibi_slopes, layer, lengths)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return local(*arrays)
    names, rules = ("batch", "heads", "head_dim"), sharding.ACTIVATION_RULES
    spec = sharding.spec(names, q.shape, mesh, "the queries of attention", rules)
    rows, heads = jax.P(spec[0]), jax.P(spec[1])
    cached = jax.P(None, spec[0], None, spec[1])
    specs = (spec, cached, cached, heads, jax.P(), rows)
    # Loops begin with constants, which the check takes for values that are equal on all devices.
    return jax.shard_map(local, in_specs=specs, out_specs=spec, check_vma=False)(*arrays)


def reads_windows() -> bool:
    """Return whether a program that is traced in this context reads whole windows of the cache.

    A CPU does not, so its programs for different windows would be the same.
    """
    return sharding.traced_platform() != "cpu"


def _by_sums(q, k, v, lengths, slopes):
    """Compute `attend_to_cache` without matrix products.

    Reading keys and values is the bottleneck. For GPUs, XLA fuses sums with slicing a layer from
    the cache, but copies the slice for a product.
    """
    shape = (*k.shape[:2], *q.shape[1:])
    scores = jnp.sum(q.astype(jnp.float32)[:, None] * k.reshape(shape).astype(jnp.float32), axis=-1)
    weights = _weights(scores, q.shape[-1], lengths, slopes)
    mixed = jnp.sum(weights[..., None] * v.reshape(shape).astype(jnp.float32), axis=1)
    return (mixed / jnp.sum(weights, axis=1)[..., None]).astype(v.dtype)


def _by_matrix_products(q, k, v, lengths, slopes):
    """Compute `attend_to_cache` with products of whole entries, which keep a TPU's layout.

    The queries become a block-diagonal matrix of D rows and N columns. The products with zeros cost
    less than splitting D into heads, which have 64 to 128 of the 128 lanes.
    """
    rows, heads, width = q.shape
    blocks = jnp.eye(heads, dtype=q.dtype)
    wide = (q[..., None] * blocks[None, :, None, :]).reshape(rows, heads * width, heads)
    scores = jnp.einsum("BSD,BDN->BSN", k, wide, preferred_element_type=jnp.float32)
    weights = _weights(scores, width, lengths, slopes)
    every = jnp.einsum(
        "BSN,BSD->BND", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
    ).reshape(rows, heads, heads, width)
    mixed = jnp.sum(every * blocks.astype(jnp.float32)[None, :, :, None], axis=2)
    return (mixed / jnp.sum(weights, axis=1)[..., None]).astype(v.dtype)


def _weights(
    scores: Float32[Array, "B S N"],
    width: int,
    lengths: Int[Array, " B"],
    slopes: Float[Array, " N"] | None,
) -> Float32[Array, "B S N"]:
    """Return the exponentials of scaled, biased and masked scores."""
    scores = biased(scores, width, lengths, slopes, jnp.arange(scores.shape[1]))
    return jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))


def attend_after_prefix(
    q: Float[Array, "G K R N H"],
    own: tuple[Float[Array, "G K R N H"], Float[Array, "G K R N H"]],
    prefix: tuple[Float[Array, "G T N H"], Float[Array, "G T N H"]],
    *,
    alibi_slopes: Float[Array, " N"] | None,
    prefix_lengths: Int[Array, " G"],
) -> Float[Array, "G K R N H"]:
    """Compute attention of K texts that continue the same prefix by R tokens, like `attention`.

    Args:
        q: queries of the continuations.
        own: their keys and values.
        prefix: keys and values of the prefixes, of which the first `prefix_lengths[g]` are valid.
        alibi_slopes: slopes of ALiBi, if any.
        prefix_lengths: tokens of each prefix, at least 0.
    """
    steps = jnp.arange(q.shape[2])[None, :, None]
    entries, own_entries = jnp.arange(prefix[0].shape[1])[None, None], steps.reshape(1, 1, -1)
    length = prefix_lengths[:, None, None]
    before = length + steps - entries  # [G R T]
    among = jnp.broadcast_to(steps - own_entries, (len(q), *(steps - own_entries).shape[1:]))
    visible = jnp.concatenate(
        [jnp.broadcast_to(entries < length, before.shape), among >= 0], axis=-1
    )[:, None, None]
    scores = jnp.concatenate(
        [
            _product("GKRNH,GTNH->GKNRT", q, prefix[0]),
            _product("GKRNH,GKSNH->GKNRS", q, own[0]),
        ],
        axis=-1,
    )
    scores = scores * q.shape[-1] ** -0.5
    if alibi_slopes is not None:
        far = jnp.concatenate([before, among], axis=-1).astype(jnp.float32)[:, None, None]
        scores = scores - alibi_slopes[None, None, :, None, None] * far
    scores = jnp.where(visible, scores, MASKED_SCORE)
    weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    first, rest = jnp.split(weights.astype(q.dtype), [entries.size], axis=-1)
    mixed = _product("GKNRT,GTNH->GKRNH", first, prefix[1])
    mixed = mixed + _product("GKNRS,GKSNH->GKRNH", rest, own[1])
    return (mixed / jnp.einsum("GKNRT->GKRN", weights)[..., None]).astype(q.dtype)


def _product(
    equation: str, a: Float[Array, "..."], b: Float[Array, "..."]
) -> Float32[Array, "..."]:
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)
