"""Commands on this machine, run from argv lists without a shell, or only printed."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching.processes import noted_signals
from teacherlm_jax.runs import masking
from teacherlm_jax.runs.console import say

_POLL_SECONDS = 0.2


class Answer(NamedTuple):
    """Exit status, standard output and standard error of a command."""

    status: int
    output: str
    errors: str


class Shell:
    """Runs commands, and prints each of them as one would type it."""

    def call(self, words: Sequence[str]) -> int:
        """Run a command and show its output; return its exit status."""
        with _started(words, output=None) as process:
            return process.wait()

    def ask(self, words: Sequence[str]) -> Answer:
        """Run a command and return its status and output."""
        with _started(words, output=subprocess.PIPE) as process:
            output, errors = process.communicate()
            hidden = masking.without(errors, masking.secrets(os.environ))
            return Answer(process.returncode, output, hidden)

    def attend(self, words: Sequence[str], stop: Sequence[str]) -> tuple[int, bool]:
        """Run a long command; return its exit status, and whether a signal stopped it.

        The first signal (see `stop_signals`) runs `stop`, after which the command should exit; the
        second one kills it.
        """
        stopped = False
        with noted_signals() as received, _started(words, output=None) as process:
            while process.poll() is None:
                if received and not stopped:
                    stopped = True
                    say(f"launch: {received[0].name}: stopping; signal again to kill")
                    self.call(stop)
                if len(received) > 1:
                    os.killpg(
                        process.pid, signal.SIGKILL
                    )  # gcloud is a script that starts other processes
                time.sleep(_POLL_SECONDS)
            # No restart, even if the signal arrived while the command was exiting.
            return (128 + received[0] if received else process.returncode), bool(received)

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class DryShell(Shell):
    """Prints the commands without running them; a slice is active once it was requested."""

    def __init__(self) -> None:
        self._created = False

    def call(self, words: Sequence[str]) -> int:
        """Print a command."""
        self._created |= "create" in words
        _print(words)
        return 0

    def ask(self, words: Sequence[str]) -> Answer:
        """Print a command; a query of the state is answered by whether `create` was printed."""
        if "describe" not in words:
            return Answer(self.call(words), "", "")
        _print(words)
        return Answer(0, "ACTIVE\n", "") if self._created else Answer(1, "", "NOT_FOUND")

    def attend(self, words: Sequence[str], stop: Sequence[str]) -> tuple[int, bool]:
        """Print a command."""
        return self.call(words), False

    def wait(self, seconds: float) -> None:
        """Return at once."""


def _print(words: Sequence[str]) -> None:
    say(shlex.join(masking.masked(words, os.environ)))


def _started(words: Sequence[str], output: int | None) -> subprocess.Popen[str]:
    _print(words)
    try:
        # In its own session, so that Ctrl-C reaches only the launcher.
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UserError(
            f"{words[0]}: command not found; install the Google Cloud CLI, which contains gcloud, "
            "from https://cloud.google.com/sdk/docs/install"
        ) from None
