"""Programs compiled for chips that are not here, and what the compiler says of them."""

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import jax

from teacherlm_jax.planning.chips import GIB

_USED = re.compile(r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm")
_TEMPORARIES = re.compile(r"\(([\d.]+)([KMGT])\) exceeds available HBM \(([\d.]+)([KMGT])\)")
_UNITS = {"K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}


@dataclasses.dataclass(frozen=True)
class CompiledProgram:
    """One compiled program.

    Attributes:
        name: what it does.
        text: its optimised HLO; empty when it does not fit.
        memory: bytes that it takes of a chip's memory, arguments and itself included.
        available: bytes that it could have, where the compiler said so because that is too little.
        optimal_seconds: the compiler's own estimate of its time; None where it gives none.
        compile_seconds: how long compiling took.
    """

    name: str
    text: str
    memory: float
    available: float | None
    optimal_seconds: float | None
    compile_seconds: float


def compiled(name: str, compile_it: Callable[[], Any]) -> CompiledProgram:
    """What `compile_it()` gives, a `jax.stages.Compiled`, or the memory that it lacks."""
    began = time.monotonic()
    try:
        program = compile_it()
    except jax.errors.JaxRuntimeError as error:
        needed, available = lacking(str(error))
        return CompiledProgram(name, "", needed, available, None, time.monotonic() - began)
    seconds = time.monotonic() - began
    sizes = program.memory_analysis()
    memory = (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
        + sizes.temp_size_in_bytes
        + sizes.generated_code_size_in_bytes
    )
    optimal = program.cost_analysis().get("optimal_seconds", 0.0)
    return CompiledProgram(
        name, program.as_text(), memory, None, optimal if optimal > 0 else None, seconds
    )


def lacking(message: str) -> tuple[float, float]:
    """Bytes needed and available, from the compiler's message about memory that ran out.

    Raises JaxRuntimeError, with the message, where it is about something else.
    """
    found = _USED.search(message) or _TEMPORARIES.search(message)
    if found is None:
        raise jax.errors.JaxRuntimeError(message)
    needed, unit, available, other = found.groups()
    return float(needed) * _UNITS[unit], float(available) * _UNITS[other]


def in_gib(size: float) -> str:
    """Bytes as people read them: `21.3 GiB`."""
    return f"{size / GIB:.1f} GiB" if size >= 0.1 * GIB else f"{size / 2**20:.1f} MiB"
