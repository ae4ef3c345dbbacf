"""Commands that leave everything as it is: they have options, but no config and no run folder."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

from teacherlm_jax import config


@dataclasses.dataclass(frozen=True)
class Tool:
    """One such command.

    Attributes:
        summary: its line in the help.
        example: command lines at the end of its help.
        options: dataclass of its options.
        function: `module:function`, imported only when the command runs. It gets the options and a
            function that prints a text, and returns the exit status.
    """

    summary: str
    example: str
    options: type
    function: str

    def load(self) -> Callable[[Any, Callable[[str], None]], int]:
        """Import the function."""
        module, _, attribute = self.function.partition(":")
        return getattr(importlib.import_module(module), attribute)


TOOLS = {
    "status": Tool(
        "show what runs are doing, from their files alone",
        "teacherlm status runs/student --watch\n"
        "teacherlm status gs://my-bucket/runs  # all runs in a folder\n"
        "teacherlm status runs/student --json",
        config.StatusOptions,
        "teacherlm_jax.status.show:show",
    ),
    "doctor": Tool(
        "check devices, versions, memory, disk, bucket and clock, and say what to do",
        "teacherlm doctor\nteacherlm doctor --folder=gs://my-bucket/runs",
        config.DoctorOptions,
        "teacherlm_jax.doctor.examine:examine",
    ),
}
