"""Hours of an annotation on a TPU slice, by `plan`, in a process of its own.

The TPU compiler takes JAX's platform away from the process that loads it.
"""

import concurrent.futures
import dataclasses
import multiprocessing
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import annotation_programs, chips, compiler, plan
from teacherlm_jax.planning.programs import in_gib


@dataclasses.dataclass(frozen=True)
class SliceEstimate:
    """Hours on a slice, or the reason why there are none.

    Attributes:
        slice: name of the slice.
        speed: as in a plan: `hours`, `chip_hours`, `tokens_per_text`, `tokens_per_second`; None if
            there are none.
        problem: the reason; else empty.
    """

    slice: str
    speed: dict[str, Any] | None
    problem: str = ""


def estimate(config: AnnotateConfig, topology: str, length: int, rows: int) -> SliceEstimate:
    """Return the hours for the explanations of `rows` rows with prompts of up to `length` tokens.

    Settings that do not work on the slice, a program that does not fit, and a missing compiler are
    problems in the result.
    """
    spawn = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as process:
            return process.submit(_planned, config, topology, length, rows).result()
    except UserError as error:
        return SliceEstimate(topology, None, str(error))
    except BrokenProcessPool:
        return SliceEstimate(topology, None, "the compiler was killed; it needs more memory")


def _planned(config: AnnotateConfig, topology: str, length: int, rows: int) -> SliceEstimate:
    tpu_slice = chips.parse(topology)
    devices = compiler.devices(tpu_slice)
    prepared = annotation_programs.prepare(config, devices, length, "")
    result = plan.planned(prepared, tpu_slice, rows)
    if result["speed"] is not None:
        return SliceEstimate(topology, result["speed"])
    worst = max(result["programs"], key=lambda program: program["memory"])
    needed, available = in_gib(worst["memory"]), in_gib(worst["memory_available"])
    return SliceEstimate(
        topology,
        None,
        f"{worst['program']} needs {needed} of {available} per chip; `teacherlm plan` names "
        "settings that fit",
    )
