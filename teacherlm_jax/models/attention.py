"""The one attention contract, its implementations by name, and attention to a cache."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from teacherlm_jax import sharding
from teacherlm_jax.errors import UserError
from teacherlm_jax.models.attention_blockwise import blockwise
from teacherlm_jax.models.attention_fused import fused
from teacherlm_jax.models.attention_xla import MASKED_SCORE, xla


def attention(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T N H"],
    v: Float[Array, "B T N H"],
    *,
    alibi_slopes: Float[Array, "N"] | None,
    positions: Int[Array, "B T"],
    segment_ids: Int[Array, "B T"],
    implementation: str = "xla",
) -> Float[Array, "B T N H"]:
    """Causal softmax attention of packed texts to themselves, with ALiBi where there are slopes.

    The contract that every implementation keeps:

    - A row holds texts one behind the other: equal segment ids stand side by side, and positions
      count 0, 1, 2, … within each text. A query sees the keys of its own text up to itself.
    - Scores are q.k / sqrt(H) - slope * (query position - key position). An implementation may
      drop what is constant along the keys, which the softmax removes: the key's position is enough.
    - Segment 0 is padding, before or behind the texts. What padding's queries give is unspecified
      but finite, and so are the gradients through it; no other query sees padding.
    - Scores, ALiBi and softmax are float32; the result has v's dtype. Slopes get no gradient.

    On a mesh in context, rows and heads lie as `sharding.ACTIVATION_RULES` says; T is not cut.

    Raises:
      UserError: no implementation has this name, or this one cannot hold rows as long as these.
    """
    if implementation not in IMPLEMENTATIONS:
        raise UserError(
            f"config.model.attention={implementation!r}: wanted one of "
            f"{', '.join(sorted(IMPLEMENTATIONS))}"
        )
    if alibi_slopes is not None:
        alibi_slopes = jax.lax.stop_gradient(alibi_slopes)
    return IMPLEMENTATIONS[implementation](
        q, k, v, alibi_slopes=alibi_slopes, positions=positions, segment_ids=segment_ids
    )


def _on_each_device(implementation: Callable[..., Array]) -> Callable[..., Array]:
    """The same on a mesh: every device attends with its own rows and heads, and exchanges nothing.

    The compiler cannot cut a kernel by itself, and loops whose bounds come from the texts of a row
    should not wait for other devices' texts.
    """

    def attend(q, k, v, *, alibi_slopes, positions, segment_ids):
        def local(q, k, v, slopes, positions, segment_ids):
            return implementation(
                q, k, v, alibi_slopes=slopes, positions=positions, segment_ids=segment_ids
            )

        arrays = (q, k, v, alibi_slopes, positions, segment_ids)
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty or mesh.size == 1:
            return local(*arrays)
        names = ("batch", "length", "heads", "head_dim")
        rules = sharding.ACTIVATION_RULES
        heads = sharding.spec(names, q.shape, mesh, "the queries of attention", rules)
        row, slope = jax.P(heads[0], heads[1]), jax.P(heads[2])
        cuts = (heads, heads, heads, slope, row, row)
        # The check of what varies over the mesh knows no Pallas kernels.
        return jax.shard_map(local, in_specs=cuts, out_specs=heads, check_vma=False)(*arrays)

    return attend


IMPLEMENTATIONS: Mapping[str, Callable[..., Array]] = {
    "xla": xla,
    "blockwise": _on_each_device(blockwise),
    "fused": _on_each_device(fused),
}


def attend_to_cache(
    q: Float[Array, "B N H"],
    k: Float[Array, "B S N H"],
    v: Float[Array, "B S N H"],
    *,
    alibi_slopes: Float[Array, "N"] | None,
    lengths: Int[Array, "B"],
) -> Float[Array, "B N H"]:
    """Each row's newest query over that row's cache: the same maths as `attention`.

    The query's own key is entry `lengths[b]`; entries behind it are not read. One query a row is
    bound by the reading of keys and values, so this multiplies and sums instead of calling a matrix
    product, which XLA fuses with taking a layer out of the cache (twice as fast on a CPU).
    """
    distance = lengths[:, None] - jnp.arange(k.shape[1])[None, :]
    scores = jnp.sum(q.astype(jnp.float32)[:, None] * k.astype(jnp.float32), axis=-1)
    scores = scores * q.shape[-1] ** -0.5
    if alibi_slopes is not None:
        farther = distance.astype(jnp.float32)[:, :, None]
        scores = scores - alibi_slopes[None, None, :] * farther
    scores = jnp.where((distance >= 0)[:, :, None], scores, MASKED_SCORE)
    weights = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    mixed = jnp.sum(weights[..., None] * v.astype(jnp.float32), axis=1)
    return (mixed / jnp.sum(weights, axis=1)[..., None]).astype(v.dtype)
