"""What a training step holds on each chip, estimated from sizes alone: no compiler is asked.

Estimates choose what is worth compiling, and what to advise when something does not fit.
"""

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp

from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.planning.chips import GIB, TpuSlice
from teacherlm_jax.training import step_memory

# How much more than the sum of what it must hold a program was found to take, by gaps between
# arrays and copies in other layouts.
_OVERHEAD = 1.15
_SMALLEST = 0.5 * GIB


def estimate(config: TrainConfig, parameters: int, length: int) -> float:
    """Return the bytes per chip, with what a compiled program needs beside its arrays.

    The mesh and the vocabulary of `config` are settled: no size is -1 or 0.
    """
    return _SMALLEST + _OVERHEAD * step_memory.estimate(config, parameters, length).total


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
