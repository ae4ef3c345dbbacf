"""One parameter of a model: shape, dtype, initializer and logical axes in one place."""

from collections.abc import Sequence

from flax import nnx
from jax.typing import DTypeLike


def parameter(
    rngs: nnx.Rngs,
    initializer: nnx.Initializer,
    shape: Sequence[int],
    axes: Sequence[str],
    dtype: DTypeLike,
    layers: int = 0,
) -> nnx.Param:
    """Return a parameter with its logical axes as `.axes`, stacked if `layers` is not 0."""
    if layers:
        shape, axes = (layers, *shape), ("layers", *axes)
    return nnx.Param(initializer(rngs.params(), tuple(shape), dtype), axes=tuple(axes))
