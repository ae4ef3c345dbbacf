"""Handing a command over to a scheduler: the command line is shown, and run without a shell."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import masking
from teacherlm_jax.runs.console import say

# Exit statuses after which the same command resumes the run: the processes did not connect, JAX
# lost a host, SIGKILL (preemption, out of memory), SIGTERM (a checkpoint was saved).
RESTARTED = (os.EX_TEMPFAIL, 128 + 6, 128 + 9, 128 + 15)


def environment_of(settings: Sequence[str]) -> dict[str, str]:
    """Return variables from `NAME=VALUE`, or `NAME` for the value in this process.

    Raises UserError if a name is invalid, or is not set here.
    """
    variables = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not name.replace("_", "a").isalnum() or name[0].isdecimal():
            raise UserError(f"--env={name}: expected NAME=VALUE, or NAME for the value set here")
        if not equals and name not in os.environ:
            raise UserError(f"--env={name}: {name} is not set here; set it, or use --env={name}=…")
        variables[name] = value if equals else os.environ[name]
    return variables


def hand_over(
    words: Sequence[str],
    install: str,
    *,
    dry: bool,
    shown: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Show a command line and run it, unless `dry`; return its exit status.

    Secrets of `environment` and of this process are masked in all that is shown.

    Args:
        words: program and arguments.
        install: how to install the program, for the message if it is missing.
        dry: whether to show the command line only.
        shown: the words to show (default: `words`).
        environment: variables of the command that is handed over.
    """
    known = {**os.environ, **(environment or {})}
    say(shlex.join(masking.masked(shown or words, known)))
    if dry:
        return 0
    values = masking.secrets(known)
    try:
        with subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            show_output(process, values)
    except FileNotFoundError:
        raise UserError(f"{words[0]}: command not found; {install}") from None
    status = process.returncode
    return 128 - status if status < 0 else status


def show_output(process: subprocess.Popen[str], values: Sequence[str]) -> None:
    """Show the lines that a process writes, with the values of secrets masked."""
    for line in process.stdout or ():
        say(masking.without(line.rstrip("\n"), values))
