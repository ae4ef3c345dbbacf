"""Check that training fits into device memory, before anything is allocated."""

import dataclasses
import math

from jax.sharding import Mesh

from teacherlm_jax import capacity
from teacherlm_jax.capacity import bytes_per_device
from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.training import step_memory
from teacherlm_jax.training.setup import RunSpec
from teacherlm_jax.wording import GIB

_TOLERANCE = 1.25  # by which the estimate of activations may be too high
_SMALL_LOSS_BLOCK = 512  # tokens


def refuse_too_large(config: TrainConfig, spec: RunSpec, mesh: Mesh, length: int) -> None:
    """Raise UserError if training does not fit into a device's memory.

    Sizes of parameters, optimizer and gradients are exact, those of activations are estimated for
    rows of `length` tokens. Up to 1.25 times the memory is accepted, because the estimate may be
    too high by that factor; if memory then runs out, the run ends with an error.
    """
    device = mesh.local_devices[0]
    limit, shared = capacity.available(device), capacity.sharing(mesh)
    if limit is None:
        return
    config = dataclasses.replace(config, model=spec.model, mesh=MeshConfig(*mesh.devices.shape))
    estimated = step_memory.estimate(config, spec.parameters, length)
    activations = estimated.activations * shared
    parameters = bytes_per_device(spec.abstract.model_params) * shared
    gradients = bytes_per_device(spec.abstract.params) * shared  # of the trained parameters
    optimizer = bytes_per_device(spec.abstract.opt_state) * shared
    state = parameters + gradients + optimizer
    sizes = (
        f"parameters {parameters / GIB:.1f}, optimizer {optimizer / GIB:.1f}, gradients "
        f"{gradients / GIB:.1f}, activations about {activations / GIB:.1f}"
    )
    has = f"but {device.device_kind} has {limit / GIB:.1f} GiB"
    if state > limit:
        devices = 2 ** math.ceil(math.log2(mesh.size * state / limit))
        raise UserError(
            f"config.model: needs at least {state / GIB:.1f} GiB per device before activations "
            f"({sizes}), {has}; use a smaller model, or config.mesh.fsdp over at least {devices} "
            "such devices"
        )
    if state + activations > _TOLERANCE * limit:
        raise UserError(
            f"config.batch_size={config.batch_size}: needs about {(state + activations) / GIB:.1f} "
            f"GiB per device ({sizes}), {has}; "
            f"{_smaller_settings(config, spec.parameters, length, limit / shared)}"
        )


def _smaller_settings(config: TrainConfig, parameters: int, length: int, limit: float) -> str:
    """Return advice on settings with which a step should need at most `limit` bytes per device."""
    model = dataclasses.replace(config.model, remat="full")
    block = min(config.loss_block, _SMALL_LOSS_BLOCK)
    rows = config.batch_size // (config.mesh.data * config.mesh.fsdp)
    for parts in _divisors(rows):
        smaller = dataclasses.replace(config, model=model, loss_block=block, accumulate=parts)
        if step_memory.estimate(smaller, parameters, length).total <= limit:
            return (
                f"lower config.batch_size, or set config.accumulate={parts}, "
                f"config.model.remat='full' and config.loss_block={block}, which should fit"
            )
    return (
        "even one row per device needs more, with config.model.remat='full' and the largest "
        "config.accumulate; use a smaller model, shorter rows, or more devices along "
        "config.mesh.tensor"
    )


def _divisors(number: int) -> list[int]:
    """Return all divisors of a positive number, in order."""
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})
