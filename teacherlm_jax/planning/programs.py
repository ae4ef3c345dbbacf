"""Programs compiled for absent chips, with the memory and time that the compiler reports."""

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import jax

from teacherlm_jax.wording import GIB

_USED = re.compile(r"Used ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm")
_TEMPORARIES = re.compile(r"\(([\d.]+)([KMGT])\) exceeds available HBM \(([\d.]+)([KMGT])\)")
_UNITS = {"K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}


@dataclasses.dataclass(frozen=True)
class CompiledProgram:
    """One compiled program.

    Attributes:
        name: its purpose.
        text: its optimized HLO; empty if it does not fit.
        memory: bytes of a chip's memory that it needs, including arguments and the program itself.
        temporaries: bytes of intermediate results among them; 0 if it does not fit.
        available: bytes of memory available, if the compiler reported it because they are too few.
        compile_seconds: compile time.
    """

    name: str
    text: str
    memory: float
    available: float | None
    compile_seconds: float
    temporaries: float = 0.0


def compiled(name: str, compile_it: Callable[[], Any]) -> CompiledProgram:
    """Return the program that `compile_it()` compiles, or its memory if it does not fit."""
    began = time.monotonic()
    try:
        program = compile_it()
    except jax.errors.JaxRuntimeError as error:
        needed, available = lacking(str(error))
        return CompiledProgram(name, "", needed, available, time.monotonic() - began)
    seconds = time.monotonic() - began
    sizes = program.memory_analysis()
    memory = (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
        + sizes.temp_size_in_bytes
        + sizes.generated_code_size_in_bytes
    )
    temporaries = sizes.temp_size_in_bytes
    return CompiledProgram(name, program.as_text(), memory, None, seconds, temporaries)


def lacking(message: str) -> tuple[float, float]:
    """Return bytes needed and available, from the compiler's message that memory ran out.

    Raises JaxRuntimeError with the message if it is about something else.
    """
    match = _USED.search(message) or _TEMPORARIES.search(message)
    if match is None:
        raise jax.errors.JaxRuntimeError(message)
    needed, unit, available, other = match.groups()
    return float(needed) * _UNITS[unit], float(available) * _UNITS[other]


def in_gib(size: float) -> str:
    """Return a number of bytes as text, such as `21.3 GiB`."""
    return f"{size / GIB:.1f} GiB" if size >= 0.1 * GIB else f"{size / 2**20:.1f} MiB"
