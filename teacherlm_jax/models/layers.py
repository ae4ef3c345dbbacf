"""Modules of decoder blocks: layer norm, projections and activations.

Each parameter states its shape, initializer and logical axes where it is created. `layers` stacks
it along a leading "layers" axis; the maths is written for one layer, which `scan` slices out.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from teacherlm_jax.config import LoraConfig
from teacherlm_jax.models import int8
from teacherlm_jax.models.adapter import Adapter
from teacherlm_jax.models.parameter import parameter


class Norm(nnx.Module):
    """Layer norm over the last axis, with scale and bias; its statistics are float32."""

    def __init__(
        self, width: int, epsilon: float, dtype: DTypeLike, rngs: nnx.Rngs, layers: int = 0
    ):
        ones, zeros = nnx.initializers.ones, nnx.initializers.zeros
        self.scale = parameter(rngs, ones, (width,), ("norm",), dtype, layers)
        self.bias = parameter(rngs, zeros, (width,), ("norm",), dtype, layers)
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Return normalized x, in the dtype of x."""
        return _normalize(x, self.scale[...], self.bias[...], self.epsilon)


# Recomputing elementwise operations in the backward pass is cheaper than keeping their results,
# whatever the remat policy: it saves a fifth of a training step on a CPU.
@functools.partial(jax.checkpoint, prevent_cse=False)
def gelu(x: Float[Array, "*batch F"]) -> Float[Array, "*batch F"]:
    """Apply the tanh approximation of GELU (arXiv 1606.08415), which BLOOM uses."""
    return jax.nn.gelu(x, approximate=True)


@functools.partial(jax.checkpoint, prevent_cse=False)
def _normalize(x, scale, bias, epsilon):
    x32 = x.astype(jnp.float32)
    centred = x32 - jnp.mean(x32, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    normal = centred * jax.lax.rsqrt(variance + epsilon)
    wide = (1,) * (x.ndim - 1) + scale.shape
    return (normal * scale.reshape(wide) + bias.reshape(wide)).astype(x.dtype)


class Projection(nnx.Module):
    """`einsum(equation, x, kernel) + bias`, in the dtype of x."""

    def __init__(
        self,
        equation: str,
        shape: Sequence[int],
        axes: Sequence[str],
        *,
        bias_dims: int,
        initializer: nnx.Initializer,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
        layers: int = 0,
    ):
        """The bias has the last `bias_dims` dimensions of kernel and output; 0: no bias."""
        self.kernel = parameter(rngs, initializer, shape, axes, dtype, layers)
        self.biased = bias_dims > 0
        if self.biased:
            zeros = nnx.initializers.zeros
            self.bias = parameter(rngs, zeros, shape[-bias_dims:], axes[-bias_dims:], dtype, layers)
        self.equation = equation
        self.adapted = self.quantized = False

    def adapt(self, lora: LoraConfig, rngs: nnx.Rngs) -> None:
        """Add an adapter, whose update is added to the output."""
        self.adapter, self.adapted = Adapter(self.equation, self.kernel, lora, rngs), True

    def quantize(self) -> None:
        """Take the kernel in int8, with a scale for each output channel; see `models.int8`."""
        x, letters, _ = self.equation.replace("->", ",").split(",")
        first = self.kernel.ndim - len(letters)
        shared = [first + axis for axis, letter in enumerate(letters) if letter in x]
        self.kernel, self.kernel_scale = int8.as_int8(self.kernel, shared)
        self.quantized = True

    def __call__(
        self, x: Float[Array, "B T ..."], adapters: Int[Array, " B"] | None = None
    ) -> Float[Array, "B T ..."]:
        """Apply the projection to x; see `Adapter` for `adapters`, the index of each row's."""
        y = jnp.einsum(self.equation, x, self.kernel[...].astype(x.dtype))
        if self.quantized:
            y = self._scaled(y)
        if self.biased:
            bias = self.bias[...].astype(x.dtype)
            y = y + bias.reshape((1,) * (y.ndim - bias.ndim) + bias.shape)
        return y + self.adapter(x, adapters) if self.adapted else y

    def _scaled(self, y):
        scale = self.kernel_scale[...]
        outputs = scale.shape[scale.ndim - (y.ndim - 2) :]
        return (y.astype(scale.dtype) * scale.reshape(1, 1, *outputs)).astype(y.dtype)
