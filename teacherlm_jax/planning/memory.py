"""Memory of a training step per chip, estimated from array sizes without compiling.

The estimates select configs to compile, and settings to suggest if a program does not fit.
"""

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp

from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.planning.topology import Topology
from teacherlm_jax.training import step_memory
from teacherlm_jax.wording import GIB

# Measured memory of compiled programs over the sum of their arrays: gaps between arrays, and copies
# in other layouts.
_OVERHEAD = 1.15
_SMALLEST = 0.5 * GIB


def estimate(config: TrainConfig, parameters: int, length: int) -> float:
    """Return the estimated bytes per chip, including the overhead of a compiled program.

    All sizes of the mesh and the vocabulary size in `config` must be resolved: none is -1 or 0.
    """
    return with_overhead(step_memory.estimate(config, parameters, length).total)


def with_overhead(size: float) -> float:
    """Return the bytes of a compiled program whose arrays take `size` bytes."""
    return _SMALLEST + _OVERHEAD * size


def bytes_sent(config: TrainConfig, parameters: int, length: int) -> float:
    """Estimate the bytes that a chip sends per step: weights, their gradients, activations."""
    mesh, itemsize = config.mesh, jnp.dtype(config.model.dtype).itemsize
    tokens = config.batch_size * length / (mesh.data * mesh.fsdp)
    weights = 3 * config.accumulate * itemsize * parameters / mesh.tensor
    activations = 12 * config.model.layers * tokens * config.model.width * itemsize
    return weights * (mesh.fsdp - 1) / mesh.fsdp + activations * (mesh.tensor - 1) / mesh.tensor


def candidates(
    config: TrainConfig, parameters: int, wanted: Topology, length: int, factor: float = 1.0
) -> Iterator[TrainConfig]:
    """Yield configs that should fit on a slice or GPUs, in order of increasing communication.

    They differ from `config` in the mesh (fsdp and tensor), in `remat`, which is "full", and in
    `accumulate`; none of these changes the training. `factor` is the ratio of a compiled step's
    memory to its estimate.
    """
    fitting = []
    for tensor in _divisors(wanted.chips):
        mesh = MeshConfig(data=1, fsdp=wanted.chips // tensor, tensor=tensor)
        axes = dataclasses.astuple(mesh)
        candidate = dataclasses.replace(config, mesh=mesh, accumulate=1)
        if not (wanted.carries(axes) and divides(candidate)):
            continue
        model = dataclasses.replace(config.model, remat="full")
        for accumulate in _divisors(config.batch_size // mesh.fsdp):
            candidate = dataclasses.replace(config, model=model, mesh=mesh, accumulate=accumulate)
            if factor * estimate(candidate, parameters, length) <= wanted.chip.usable * GIB:
                fitting.append(candidate)
                break
    yield from sorted(fitting, key=lambda candidate: bytes_sent(candidate, parameters, length))


def divides(config: TrainConfig) -> bool:
    """Return whether the mesh divides rows, heads, vocabulary and width evenly."""
    model, mesh = config.model, config.mesh
    return not (
        config.batch_size % (mesh.data * mesh.fsdp * config.accumulate)
        or model.heads % mesh.tensor
        or model.vocab_size % mesh.tensor
        or model.width % mesh.fsdp
    )


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
