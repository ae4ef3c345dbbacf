"""FLOPs, memory traffic and communication of a program per GPU, counted from shapes alone.

Plans for GPUs compile nothing. The counts follow from the model, the mesh, rematerialization and
attention; tests compare them with compiled programs. All rows are assumed to hold one text.
"""

import dataclasses
import math

import jax.numpy as jnp

from teacherlm_jax.config import LoraConfig, MeshConfig, ModelConfig
from teacherlm_jax.models import attention_blockwise
from teacherlm_jax.models.forward_flops import forward_flops
from teacherlm_jax.planning import memory
from teacherlm_jax.planning.annotation_programs import STEPS, PlannedAnnotation
from teacherlm_jax.planning.counts import Counts
from teacherlm_jax.planning.training_program import PlannedTraining, bytes_of, visits
from teacherlm_jax.training import step_memory
from teacherlm_jax.training.flops import model_flops

SUFFIX = 8  # tokens of a prompt after the prefix that the members of a group share
# Products of attention: those of the forward pass and of the backward pass; the forward pass runs
# again unless all its results are kept.
_FORWARD, _BACKWARD = 2, {"xla": 4, "blockwise": 5}
_RECOMPUTED = 8 / 12  # of a block's products with remat="full": all but the last one
# Times that values of a block, its scores, and logits are written or read in one pass over them.
_BLOCK_PASSES, _SCORE_PASSES, _LOGIT_PASSES = 8, 2, 6


def step_flops(
    model: ModelConfig, tokens: float, length: int, lora: LoraConfig | None = None
) -> float:
    """Return the FLOPs that a training step executes over `tokens` tokens in texts of `length`.

    Unlike `model_flops`, they include recomputation and the masked pairs that attention computes.
    """
    needed = model_flops(model, tokens, length, lora)
    blocks = model.layers * 12 * model.width**2
    again = _RECOMPUTED * blocks if model.remat == "full" else 0.0
    forward = _FORWARD * (1 if model.remat == "none" else 2)
    products = (forward + _BACKWARD[model.attention]) * _keys(model, length)
    counted = 3 * _FORWARD * (length + 1) / 2
    return needed + 2 * tokens * (again + model.layers * model.width * (products - counted))


def of_training(run: PlannedTraining) -> Counts:
    """Return the counts of one step."""
    config, model, mesh = run.config, run.config.model, run.config.mesh
    tokens = config.batch_size * run.length
    return Counts(
        flops=step_flops(model, tokens, run.length, config.lora) / run.mesh.size,
        memory=_state_traffic(run) + _loss_traffic(run) + _training_traffic(run),
        sent={
            ("all-gather, reduce-scatter", "fsdp"): _sharded(run),
            ("all-reduce", "tensor"): _sums_sent(model, mesh, tokens, passes=3),
            ("all-reduce", "data"): _replicated(run),
        },
    )


def of_annotation(run: PlannedAnnotation) -> tuple[Counts, Counts]:
    """Return the counts of a prefill of the longest prompts, and of STEPS steps of decoding."""
    return _of_prefill(run), Counts().plus(_of_decode(run), STEPS)


def _keys(model: ModelConfig, length: int) -> float:
    """Return the keys per query that attention computes with, masked ones among them."""
    if model.attention == "xla":
        return length
    blocks = math.ceil(length / attention_blockwise.BLOCK)
    return visits(model, length) * math.ceil(length / blocks)


def _state_traffic(run: PlannedTraining) -> float:
    """Return the bytes of weights, gradients and optimizer that a step reads and writes."""
    config, mesh = run.config, run.config.mesh
    itemsize, parts = jnp.dtype(config.model.dtype).itemsize, config.accumulate
    trained = jnp.dtype(config.model.param_dtype).itemsize * run.shapes.trained
    own = trained / (mesh.fsdp * mesh.tensor)
    # Gradient, parameter and two moments are read, and the last three written; and the casts.
    update = 7 * own + 1.5 * own
    passes = 3 if config.model.remat == "full" else 2
    weights = passes * parts * itemsize * run.shapes.parameters / mesh.tensor
    gradients = parts * own * mesh.fsdp + (3 * parts * own if parts > 1 else 0)
    return update + weights + gradients


def _training_traffic(run: PlannedTraining) -> float:
    """Return the bytes of activations and scores that a step reads and writes."""
    model, mesh = run.config.model, run.config.mesh
    tokens = run.config.batch_size * run.length / (mesh.data * mesh.fsdp)
    itemsize = jnp.dtype(model.dtype).itemsize
    values = itemsize * _BLOCK_PASSES * sum(step_memory.block_values(model, mesh.tensor))
    forward = 1 if model.remat == "none" else 2
    scores = (forward + 2) * _score_bytes(model, mesh, run.length)
    return tokens * model.layers * (values + scores)


def _score_bytes(model: ModelConfig, mesh: MeshConfig, length: int) -> float:
    """Return the bytes per token and block of float32 scores that are written and read."""
    return _SCORE_PASSES * 4 * model.heads / mesh.tensor * _keys(model, length)


def _loss_traffic(run: PlannedTraining) -> float:
    """Return the bytes that the loss reads and writes: logits, head and the head's gradient."""
    config, mesh, model = run.config, run.config.mesh, run.config.model
    tokens = config.batch_size * run.length / (mesh.data * mesh.fsdp)
    blocks = config.accumulate * math.ceil(tokens / config.accumulate / config.loss_block)
    logits = _LOGIT_PASSES * 4 * tokens * model.vocab_size / mesh.tensor
    head = model.vocab_size * (model.embedding_width or model.width) / mesh.tensor
    gradient = 0 if config.lora.rank else 2 * 4
    return logits + blocks * head * (2 * jnp.dtype(model.dtype).itemsize + gradient)


def _sharded(run: PlannedTraining) -> float:
    """Return the bytes sent along `fsdp`: weights, twice, and their gradients."""
    mesh = run.config.mesh
    alone = dataclasses.replace(run.config, mesh=MeshConfig(mesh.data, mesh.fsdp, 1))
    sent = memory.bytes_sent(alone, run.shapes.parameters, run.length)
    share = (2 + run.shapes.trained / run.shapes.parameters) / 3  # frozen ones have no gradient
    return share * sent / mesh.tensor


def _replicated(run: PlannedTraining) -> float:
    """Return the bytes sent along `data`: the float32 gradients, once per step."""
    mesh = run.config.mesh
    gradients = 4 * run.shapes.trained / (mesh.fsdp * mesh.tensor)
    return 2 * gradients * (mesh.data - 1) / mesh.data


def _sums_sent(model: ModelConfig, mesh: MeshConfig, tokens: float, passes: int = 1) -> float:
    """Return the bytes sent along `tensor` by the sums of all blocks: two in each pass over one.

    A ring sends everything twice.
    """
    values = 2 * passes * model.layers * tokens / (mesh.data * mesh.fsdp) * model.width
    return 2 * jnp.dtype(model.dtype).itemsize * values * (mesh.tensor - 1) / mesh.tensor


def _weights_sent(run: PlannedAnnotation) -> float:
    mesh = run.config.mesh
    return bytes_of(run.params)[0] / mesh.tensor * (mesh.fsdp - 1) / mesh.fsdp


def _of_prefill(run: PlannedAnnotation) -> Counts:
    model, mesh, texts = run.model, run.config.mesh, run.group * run.members
    tokens, suffixes = run.group * run.length, texts * SUFFIX
    shards = mesh.data * mesh.fsdp
    flops = forward_flops(model, tokens, tokens * _keys(model, run.length), 0)
    flops += forward_flops(model, suffixes, suffixes * (run.length + SUFFIX), texts)
    itemsize = jnp.dtype(model.dtype).itemsize
    # A forward pass is a quarter of the passes of a step, and keys and values are kept.
    values = itemsize * _BLOCK_PASSES / 4 * sum(step_memory.block_values(model, mesh.tensor))
    values += 2 * 2 * itemsize * model.width / mesh.tensor
    traffic = model.layers * (tokens + suffixes) * values
    traffic += model.layers * tokens * _score_bytes(model, mesh, run.length)
    traffic += _LOGIT_PASSES * 4 * texts * model.vocab_size / mesh.tensor
    # To store prompts, the compiler transposes the whole cache and back.
    traffic = traffic / shards + 4 * run.cache
    return Counts(
        flops=flops / run.mesh.size,
        memory=traffic + bytes_of(run.params)[0] / mesh.tensor,
        sent={
            ("all-gather", "fsdp"): _weights_sent(run),
            ("all-reduce", "tensor"): _sums_sent(model, mesh, tokens + suffixes),
        },
    )


def _of_decode(run: PlannedAnnotation) -> Counts:
    """Return the counts of one step with the full length of the cache."""
    model, mesh, slots = run.model, run.config.mesh, run.config.slots
    flops = forward_flops(model, slots, slots * run.entries, slots)
    logits = _LOGIT_PASSES * 4 * slots * model.vocab_size / run.mesh.size
    return Counts(
        flops=flops / run.mesh.size,
        memory=bytes_of(run.params)[0] / mesh.tensor + run.cache + logits,
        sent={
            ("all-gather", "fsdp"): _weights_sent(run),
            ("all-reduce", "tensor"): _sums_sent(model, mesh, slots),
        },
    )
