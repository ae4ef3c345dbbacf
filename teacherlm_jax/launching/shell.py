"""Commands on this machine, run from argv lists without a shell, or only printed."""

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import handover
from teacherlm_jax.launching.processes import noted_signals
from teacherlm_jax.runs import masking
from teacherlm_jax.runs.console import say

_POLL_SECONDS = 0.2
_DRAIN_SECONDS = 5  # to read the last lines; a background ssh may keep the output open


class Answer(NamedTuple):
    """Exit status, standard output and standard error of a command."""

    status: int
    output: str
    errors: str


class Shell:
    """Runs commands, and prints each of them as one would type it.

    Secrets of this environment, and those that a shell line of any command so far assigned, are
    masked in everything that is shown.
    """

    def __init__(self) -> None:
        self._assigned: set[str] = set()

    def call(self, words: Sequence[str]) -> int:
        """Run a command and show its output; return its exit status."""
        process, reader = self._shown(words)
        status = process.wait()
        reader.join(_DRAIN_SECONDS)
        return status

    def ask(self, words: Sequence[str]) -> Answer:
        """Run a command and return its status and output."""
        with _started(words, errors=subprocess.PIPE) as process:
            output, errors = process.communicate()
            return Answer(process.returncode, output, masking.without(errors, self._secrets(words)))

    def attend(self, words: Sequence[str], stop: Sequence[str]) -> tuple[int, bool]:
        """Run a long command; return its exit status, and whether a signal stopped it.

        The first signal (see `stop_signals`) runs `stop`, after which the command should exit; the
        second one kills it.
        """
        stopped = False
        with noted_signals() as received:
            process, reader = self._shown(words)
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
            reader.join(_DRAIN_SECONDS)
            # No restart, even if the signal arrived while the command was exiting.
            return (128 + received[0] if received else process.returncode), bool(received)

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def _shown(self, words: Sequence[str]) -> tuple[subprocess.Popen[str], threading.Thread]:
        """Start a command; return it, and the thread that shows its output."""
        values = self._secrets(words)
        process = _started(words, errors=subprocess.STDOUT)
        reader = threading.Thread(target=_show, args=(process, values), daemon=True)
        reader.start()
        return process, reader

    def _secrets(self, words: Sequence[str]) -> list[str]:
        self._assigned.update(masking.assigned(words))
        values = {*masking.secrets(os.environ), *self._assigned}
        return sorted(values, key=len, reverse=True)


class DryShell(Shell):
    """Prints the commands without running them; a slice is active once it was requested."""

    def __init__(self) -> None:
        super().__init__()
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


def _show(process: subprocess.Popen[str], values: Sequence[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        handover.show_output(process, values)


def _started(words: Sequence[str], errors: int) -> subprocess.Popen[str]:
    _print(words)
    try:
        # In its own session, so that Ctrl-C reaches only the launcher.
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UserError(
            f"{words[0]}: command not found; install the Google Cloud CLI, which contains gcloud, "
            "from https://cloud.google.com/sdk/docs/install"
        ) from None
