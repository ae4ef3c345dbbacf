"""Hours of an annotation on a TPU slice or on GPUs, by `plan`.

For a slice it runs in a process of its own: the TPU compiler takes JAX's platform away from the
process that loads it.
"""

import concurrent.futures
import dataclasses
import multiprocessing
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import annotation_programs, compiler, gpu_plan, plan, topology
from teacherlm_jax.planning.calibration import ASSUMED
from teacherlm_jax.planning.chips import TpuSlice
from teacherlm_jax.planning.gpus import GpuSet
from teacherlm_jax.planning.plan_text import basis_of
from teacherlm_jax.planning.programs import in_gib
from teacherlm_jax.planning.topology import unit


@dataclasses.dataclass(frozen=True)
class SliceEstimate:
    """Hours on a slice or on GPUs, or the reason why there are none.

    Attributes:
        slice: name of the slice or the GPUs.
        speed: as in a plan: `hours`, `chip_hours`, `tokens_per_text`, `tokens_per_second`; None if
            there are none.
        problem: the reason; else empty.
        basis: origin of the hours.
        unit: "chip" or "GPU".
    """

    slice: str
    speed: dict[str, Any] | None
    problem: str = ""
    basis: str = "at best"
    unit: str = "chip"


def estimate(config: AnnotateConfig, wanted_name: str, length: int, rows: int) -> SliceEstimate:
    """Return the hours for the explanations of `rows` rows with prompts of up to `length` tokens.

    Settings that do not work on the slice, a program that does not fit, and a missing compiler are
    problems in the result.
    """
    wanted = topology.parse(wanted_name)
    try:
        if isinstance(wanted, GpuSet):
            return _on_gpus(config, wanted, length, rows)
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as process:
            return process.submit(_on_slice, config, wanted, length, rows).result()
    except UserError as error:
        return SliceEstimate(wanted_name, None, str(error))
    except BrokenProcessPool:
        return SliceEstimate(wanted_name, None, "the compiler was killed; it needs more memory")


def _on_gpus(config: AnnotateConfig, wanted: GpuSet, length: int, rows: int) -> SliceEstimate:
    prepared = gpu_plan.prepare(config, wanted, length, "")
    result = gpu_plan.planned(prepared, wanted, ASSUMED, rows)
    return _of_plan(result, wanted.name, unit(wanted), basis_of(result))


def _on_slice(config: AnnotateConfig, wanted: TpuSlice, length: int, rows: int) -> SliceEstimate:
    devices = compiler.devices(wanted)
    prepared = annotation_programs.prepare(config, devices, length, "")
    result = plan.planned(prepared, wanted, rows)
    return _of_plan(result, wanted.name, unit(wanted), SliceEstimate.basis)


def _of_plan(result: dict[str, Any], name: str, one: str, basis: str) -> SliceEstimate:
    if result["speed"] is not None:
        return SliceEstimate(name, result["speed"], basis=basis, unit=one)
    worst = plan.largest(result)
    needed, available = in_gib(worst["memory"]), in_gib(worst["memory_available"])
    return SliceEstimate(
        name,
        None,
        f"{worst['program']} needs {needed} of {available} per {one}; `teacherlm plan` names "
        "settings that fit",
    )
