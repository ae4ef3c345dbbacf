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
        pending: the gradients among them that do not exist yet while the loss is computed.
        casts: copies of the trained parameters in the dtype of the computation.
        residuals: results of the forward pass that are kept for the backward pass.
        block: intermediate results of one block in the backward pass.
        loss: logits of a block of tokens, and gradients of the head.
    """

    parameters: float
    optimizer: float
    gradients: float
    pending: float
    casts: float
    residuals: float
    block: float
    loss: float

    @property
    def activations(self) -> float:
        """All but parameters, optimizer and gradients, at the peak."""
        return self.casts + self.residuals + self.working

    @property
    def working(self) -> float:
        """The larger one of `block` and `loss`, which takes the memory of pending gradients."""
        return max(self.loss - self.pending, self.block)

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
    return StepMemory(
        parameters=frozen + parameter_bytes,
        optimizer=2 * parameter_bytes,
        gradients=parameter_bytes + sums,
        pending=parameter_bytes,
        casts=casts,
        residuals=residuals,
        block=block,
        loss=_loss(model, mesh.tensor, tokens, config.loss_block, frozen=lora.rank > 0),
    )


def block_values(model: ModelConfig, t: int) -> tuple[float, float]:
    """Return the values per token that a block computes: those of its projections, and the others.

    `t` is the size of the mesh axis `tensor`. The scores of attention are not among them.
    """
    D = model.width
    return 2 * D + 7 * D / t, 4 * D + 9 * D / t


def _layers(model: ModelConfig, t: int, tokens: float, length: int) -> tuple[float, float]:
    """Return the bytes saved for the backward pass, and those of one block in that pass.

    `t` is the size of the mesh axis `tensor`, `tokens` the tokens per device in memory.
    """
    D, itemsize = model.width, jnp.dtype(model.dtype).itemsize
    inputs, (products, rest) = D, block_values(model, t)
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
