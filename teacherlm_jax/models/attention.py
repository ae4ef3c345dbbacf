"""The attention contract, and its implementations by name."""

from collections.abc import Callable, Mapping

import jax
from jaxtyping import Array, Float, Int

from teacherlm_jax import sharding
from teacherlm_jax.errors import UserError
from teacherlm_jax.models.attention_blockwise import blockwise
from teacherlm_jax.models.attention_fused import fused
from teacherlm_jax.models.attention_xla import xla


def attention(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T N H"],
    v: Float[Array, "B T N H"],
    *,
    alibi_slopes: Float[Array, " N"] | None,
    positions: Int[Array, "B T"],
    segment_ids: Int[Array, "B T"],
    implementation: str = "xla",
) -> Float[Array, "B T N H"]:
    """Compute causal softmax self-attention over packed texts, with ALiBi if slopes are set.

    Every implementation keeps this contract:

    - A row holds texts one after the other: equal segment ids are contiguous, and positions count
      0, 1, 2, … within each text. A query sees the keys of its own text up to itself.
    - Scores are q.k / sqrt(H) - slope * (query position - key position). An implementation may
      drop terms that are constant along the keys, which cancel in the softmax.
    - Segment 0 is padding, before or after the texts. The output of padding queries is unspecified
      but finite, and so are the gradients through it; no other query sees padding.
    - Scores, ALiBi and softmax are float32; the result has the dtype of v. Slopes get no gradient.

    On a mesh in context, rows and heads are sharded by `sharding.ACTIVATION_RULES`; T is not.

    Raises UserError if the implementation is unknown or cannot process rows of this length.
    """
    if implementation not in IMPLEMENTATIONS:
        raise UserError(
            f"config.model.attention={implementation!r}: expected one of "
            f"{', '.join(sorted(IMPLEMENTATIONS))}"
        )
    if alibi_slopes is not None:
        alibi_slopes = jax.lax.stop_gradient(alibi_slopes)
    return IMPLEMENTATIONS[implementation](
        q, k, v, alibi_slopes=alibi_slopes, positions=positions, segment_ids=segment_ids
    )


def _on_each_device(implementation: Callable[..., Array]) -> Callable[..., Array]:
    """Wrap an implementation so that each device of a mesh computes its own rows and heads.

    Nothing is exchanged. The compiler cannot partition a kernel by itself, and loops with bounds
    that depend on the texts of a row should not wait for other devices.
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
        specs = (heads, heads, heads, slope, row, row)
        # The check of varying axes does not support Pallas kernels.
        return jax.shard_map(local, in_specs=specs, out_specs=heads, check_vma=False)(*arrays)

    return attend


IMPLEMENTATIONS: Mapping[str, Callable[..., Array]] = {
    "xla": xla,
    "blockwise": _on_each_device(blockwise),
    "fused": _on_each_device(fused),
}
