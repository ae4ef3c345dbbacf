"""What a training step holds on each chip, estimated from sizes alone: no compiler is asked.

Estimates choose what is worth compiling, and what to advise when something does not fit.
"""

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp

from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.planning.chips import GIB, TpuSlice

# How much more than the sum of what it must hold a program was found to take, by gaps between
# arrays and copies in other layouts.
_OVERHEAD = 1.15
_SMALLEST = 0.5 * GIB


def estimate(config: TrainConfig, parameters: int, length: int) -> float:
    """Bytes a chip: state, gradients, what the backward pass needs, and the loss or a block.

    The mesh and the vocabulary of `config` are settled: no size is -1 or 0.
    """
    model, mesh = config.model, config.mesh
    D, V, L = model.width, model.vocab_size, model.layers
    each, kept = jnp.dtype(model.dtype).itemsize, jnp.dtype(model.param_dtype).itemsize
    cut, t = mesh.fsdp * mesh.tensor, mesh.tensor
    tokens = config.batch_size / (mesh.data * mesh.fsdp * config.accumulate) * length
    state = 3 * kept * parameters / cut
    gradients = kept * parameters / cut
    sums = gradients if config.accumulate > 1 else 0.0
    in_use = each * parameters / cut if each != kept else 0.0
    # Of a token, in one block: its input; results of the projections; and what else there is.
    inputs, products, rest = D, 2 * D + 7 * D / t, 4 * D + 9 * D / t
    scores = model.heads / t * length if model.attention == "xla" else 0.0
    saved = {"full": inputs, "dots": inputs + products, "none": inputs + products + rest + scores}
    residuals = L * tokens * saved[model.remat] * each
    block = tokens * (each * (products + rest) + 16 * D + 8 * scores) + 2 * each * 12 * D * D / t
    E = model.embedding_width or D
    loss = V * E / t * (each + 4) + 3 * 4 * min(config.loss_block, tokens) * V / t
    loss += 3 * tokens * E * each
    held = state + sums + in_use + residuals + max(loss, gradients + block)
    return _SMALLEST + _OVERHEAD * held


def sent(config: TrainConfig, parameters: int, length: int) -> float:
    """Bytes that a chip sends in a step, roughly: weights, their gradients, and activations."""
    mesh, each = config.mesh, jnp.dtype(config.model.dtype).itemsize
    tokens = config.batch_size * length / (mesh.data * mesh.fsdp)
    weights = 3 * config.accumulate * each * parameters / mesh.tensor
    activations = 12 * config.model.layers * tokens * config.model.width * each
    return weights * (mesh.fsdp - 1) / mesh.fsdp + activations * (mesh.tensor - 1) / mesh.tensor


def candidates(
    config: TrainConfig, parameters: int, where: TpuSlice, length: int, factor: float = 1.0
) -> Iterator[TrainConfig]:
    """Ways to train the same on this slice that should fit, the least communication first.

    `factor` is what a compiled step was found to need over its estimate.

    What may differ is how the chips are arranged (fsdp and tensor), `remat`, which becomes "full",
    and `accumulate`: none of it changes what is learnt.
    """
    found = []
    for tensor in _divisors(where.chips):
        mesh = MeshConfig(data=1, fsdp=where.chips // tensor, tensor=tensor)
        axes = dataclasses.astuple(mesh)
        way = dataclasses.replace(config, mesh=mesh, accumulate=1)
        if not (where.carries(axes) and divides(way)):
            continue
        model = dataclasses.replace(config.model, remat="full")
        for accumulate in _divisors(config.batch_size // mesh.fsdp):
            way = dataclasses.replace(config, model=model, mesh=mesh, accumulate=accumulate)
            if factor * estimate(way, parameters, length) <= where.chip.usable * GIB:
                found.append(way)
                break
    yield from sorted(found, key=lambda way: sent(way, parameters, length))


def divides(config: TrainConfig) -> bool:
    """Whether the mesh cuts rows, heads, vocabulary and width into equal pieces."""
    model, mesh = config.model, config.mesh
    return not (
        config.batch_size % (mesh.data * mesh.fsdp * config.accumulate)
        or model.heads % mesh.tensor
        or model.vocab_size % mesh.tensor
        or model.width % mesh.fsdp
    )


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
