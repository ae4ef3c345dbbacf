"""The option --validate, which checks a command line and does nothing else."""

import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from teacherlm_jax.config import TrainConfig
from teacherlm_jax.errors import UserError

OPTION = "--validate"


def is_option(word: str) -> bool:
    """Return whether a word is the option, with or without a number of devices."""
    return word.partition("=")[0] == OPTION


def split(words: Sequence[str]) -> tuple[list[str], int | None]:
    """Return the words without the option, and its number of devices.

    The number is 0 for `--validate` alone, and None if the option is not among the words. Raises
    UserError unless the value is a positive integer.
    """
    devices = None
    for word in filter(is_option, words):
        _, equals, value = word.partition("=")
        if equals and not re.fullmatch(r"[1-9][0-9]*", value):
            raise UserError(
                f"{word}: expected the number of devices of the run, as in {OPTION}=16, or "
                f"{OPTION} alone"
            )
        devices = int(value or 0)
    return [word for word in words if not is_option(word)], devices


def check_meshes(runs: Iterable[Any], devices: int) -> None:
    """Raise UserError for the first config whose mesh or batch does not fit the devices.

    With 0 devices nothing is checked.
    """
    for run in runs if devices else ():
        if hasattr(run, "mesh"):
            # Imported here because it imports JAX, which takes a while.
            sharding = importlib.import_module("teacherlm_jax.sharding")
            mesh = sharding.abstract_mesh(run.mesh, devices)
            if isinstance(run, TrainConfig):
                sharding.refuse_uneven_batch(mesh, run.batch_size, run.accumulate)
