"""LoRA (arXiv 2106.09685): low-rank updates of projections, beside kernels that are frozen.

An adapter is a module inside its projection, so that its stacked parameters are scanned with those
of the block. In a tree of parameters its leaves are the ones below the key ADAPTER.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from teacherlm_jax.config import LoraConfig
from teacherlm_jax.models.parameter import parameter
from teacherlm_jax.sharding import Tree

ADAPTER = "adapter"  # key of a projection's adapter in a tree of parameters


class Adapter(nnx.Module):
    """The update `(x A) B * alpha / rank` of a projection's output, in the dtype of x.

    A is random and B zero, so that a model with new adapters is the model without. With the
    parameters of several adapters (`stacked`), each row is computed with its own.
    """

    def __init__(self, equation: str, kernel: nnx.Param, lora: LoraConfig, rngs: nnx.Rngs):
        """Take equation and kernel of the projection; the kernel's input axes come first."""
        x, letters, y = equation.replace("->", ",").split(",")
        layers = kernel.shape[0] if kernel.axes[0] == "layers" else 0
        shape, axes = kernel.shape[bool(layers) :], kernel.axes[bool(layers) :]
        inputs = sum(letter in x for letter in letters)
        # Uniform, with PEFT's variance: 1 / 3 over the number of inputs.
        uniform = _uniform(1 / math.sqrt(math.prod(shape[:inputs])))
        zeros, dtype = nnx.initializers.zeros, kernel.dtype
        narrow, wide = (*shape[:inputs], lora.rank), (lora.rank, *shape[inputs:])
        self.a = parameter(rngs, uniform, narrow, (*axes[:inputs], "rank"), dtype, layers)
        self.b = parameter(rngs, zeros, wide, ("rank", *axes[inputs:]), dtype, layers)
        self.narrowing = f"{x},{letters[:inputs]}R->BTR"
        self.widening = f"BTR,R{letters[inputs:]}->{y}"
        self.scale = lora.alpha / lora.rank

    def __call__(
        self, x: Float[Array, "B T ..."], rows: Int[Array, " B"] | None = None
    ) -> Float[Array, "B T ..."]:
        """Return the update for the projection's input x.

        With stacked adapters, `rows` has the index of each row's adapter. All of them are applied
        to all rows, and the results of the others are set to zero: adapters are small, and a copy
        of A and B for each row would take more memory than all of them.
        """
        a, b = self.a[...].astype(x.dtype), self.b[...].astype(x.dtype)
        if rows is None:
            narrow = jnp.einsum(self.narrowing, x, a) * self.scale
            return jnp.einsum(self.widening, narrow, b)
        narrowing = self.narrowing.replace(",", ",I").replace("->BT", "->BTI")
        narrow = jnp.einsum(narrowing, x, a) * self.scale
        own = rows[:, None] == jnp.arange(len(a))[None]
        narrow = jnp.where(own[:, None, :, None], narrow, jnp.zeros((), x.dtype))
        widening = self.widening.replace("BTR,", "BTIR,I")
        return jnp.einsum(widening, narrow, b)


def _uniform(bound: float) -> nnx.Initializer:
    def draw(key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

    return draw


def split(parameters: Tree) -> tuple[Tree, Tree]:
    """Return the parameters (nested dicts) of a model without its adapters, and the adapters."""
    base, adapters = {}, {}
    for key, value in parameters.items():
        if key == ADAPTER:
            adapters[key] = value
        elif isinstance(value, dict):
            own, inside = split(value)
            base[key] = own
            if inside:
                adapters[key] = inside
        else:
            base[key] = value
    return base, adapters


def joined(base: Tree, adapters: Tree) -> Tree:
    """Return all parameters of a model; the inverse of `split`."""
    whole = dict(base)
    for key, value in adapters.items():
        whole[key] = value if key == ADAPTER else joined(base[key], value)
    return whole


def stacked(adapters: Sequence[Tree]) -> Tree:
    """Return adapters of equal settings as one tree; each array has an axis for them, after L."""
    return jax.tree.map(lambda *arrays: jnp.stack(arrays, axis=1), *adapters)


def merged(base: Tree, adapters: Tree, lora: LoraConfig) -> Tree:
    """Return the parameters of the model without adapters that computes the same.

    A kernel with an adapter becomes W + A B * alpha / rank, computed in float32, in its own dtype.
    """
    whole = dict(base)
    for key, value in adapters.items():
        if key != ADAPTER:
            whole[key] = merged(base[key], value, lora)
            continue
        a, b = value["a"].astype(jnp.float32), value["b"].astype(jnp.float32)
        update = jax.vmap(lambda a, b: jnp.tensordot(a, b, 1))(a, b) * (lora.alpha / lora.rank)
        kernel = base["kernel"]
        whole["kernel"] = (kernel.astype(jnp.float32) + update).astype(kernel.dtype)
    return whole


def size(width: int, layers: int, lora: LoraConfig) -> int:
    """Return the number of parameters of all adapters of a model."""
    ends = {"query_key_value": 1 + 3, "attention_output": 1 + 1, "up": 1 + 4, "down": 4 + 1}
    return layers * lora.rank * width * sum(ends[target] for target in lora.targets)
