"""Memory of a training step per device, estimated from sizes alone; nothing is compiled."""

import dataclasses

import jax.numpy as jnp

from teacherlm_jax.config import ModelConfig, TrainConfig
from teacherlm_jax.models import adapter


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes per device that a training step holds at its peak.

    Attributes:
        parameters: parameters.
        optimizer: AdamW's two moments.
        gradients: gradients, and their sums over the parts of a batch if `accumulate` is above 1.
        activations: casts of the parameters, saved residuals, and one block or the loss.
    """

    parameters: float
    optimizer: float
    gradients: float
    activations: float

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.parameters + self.optimizer + self.gradients + self.activations


def estimate(config: TrainConfig, parameters: int, length: int) -> StepMemory:
    """Estimate the memory of a step on packed rows of `length` tokens.

    The mesh and the vocabulary of `config` must be resolved: no size is -1 or 0. `parameters` is
    the number of parameters over all devices. With LoRA all but the adapters are frozen, and stored
    in the dtype of the computation.
    """
    model, mesh, lora = config.model, config.mesh, config.lora
    itemsize = jnp.dtype(model.dtype).itemsize
    trained = adapter.size(model.width, model.layers, lora) if lora.rank else parameters
    parameter_bytes = jnp.dtype(model.param_dtype).itemsize * trained / (mesh.fsdp * mesh.tensor)
    frozen = itemsize * (parameters - trained) / (mesh.fsdp * mesh.tensor)
    sums = parameter_bytes if config.accumulate > 1 else 0.0
    casts = itemsize * trained / (mesh.fsdp * mesh.tensor)
    casts = casts if itemsize != jnp.dtype(model.param_dtype).itemsize else 0.0
    tokens = config.batch_size / (mesh.data * mesh.fsdp * config.accumulate) * length
    residuals, block = _layers(model, mesh.tensor, tokens, length)
    # The loss is computed before the gradients exist.
    loss = _loss(model, mesh.tensor, tokens, config.loss_block, frozen=lora.rank > 0)
    peak = max(loss - parameter_bytes, block)
    return StepMemory(
        frozen + parameter_bytes,
        2 * parameter_bytes,
        parameter_bytes + sums,
        casts + residuals + peak,
    )


def _layers(model: ModelConfig, t: int, tokens: float, length: int) -> tuple[float, float]:
    """Return the bytes saved for the backward pass, and those of one block in that pass.

    `t` is the size of the mesh axis `tensor`, `tokens` the tokens per device in memory.
    """
    D, itemsize = model.width, jnp.dtype(model.dtype).itemsize
    # Values per token and block: its input, the results of its projections, and everything else.
    inputs, products, rest = D, 2 * D + 7 * D / t, 4 * D + 9 * D / t
    scores = model.heads / t * length if model.attention == "xla" else 0.0
    saved = {"full": inputs, "dots": inputs + products, "none": inputs + products + rest + scores}
    block = tokens * (itemsize * (products + rest) + 16 * D + 8 * scores)
    weights = 2 * itemsize * 12 * D * D / t
    return model.layers * tokens * saved[model.remat] * itemsize, block + weights


def _loss(model: ModelConfig, t: int, tokens: float, loss_block: int, *, frozen: bool) -> float:
    """Return the bytes of the loss: the vocabulary's weights, a block of logits, the states.

    The gradient of the weights is float32; frozen weights have none.
    """
    V, E = model.vocab_size / t, model.embedding_width or model.width
    itemsize = jnp.dtype(model.dtype).itemsize
    logits = 3 * 4 * min(loss_block, tokens) * V
    return V * E * (itemsize if frozen else itemsize + 4) + logits + 3 * tokens * E * itemsize
