"""Child processes that stop when their parent has ended, even if SIGKILL ended it.

The parent keeps the write end of a pipe open, and the child reads the other end, which the
environment names. The system closes the write end when the parent ends. The child then sends
SIGTERM to itself, so that a command saves its work and exits as on any preemption.
"""

import contextlib
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO

_VARIABLE = "TEACHERLM_PARENT_PIPE"  # number of the file descriptor that the child reads
_STOPPED = b"."  # the parent has sent a signal that stops the child: it needs no other one

_followed = False


class TiedProcess:
    """A child process in a session of its own, so that Ctrl-C reaches only its parent.

    If it is `teacherlm`, it stops when this process has ended; see `follow`.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ):
        """Start a command line; the streams are those of `subprocess.Popen`."""
        reading, writing = os.pipe()  # no other child inherits them
        self._writing: int | None = writing
        try:
            self._process = subprocess.Popen(
                words,
                env={**environment, _VARIABLE: str(reading)},
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                pass_fds=(reading,),
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        """Output of the process; None if it is not piped."""
        return self._process.stdout

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs, minus a signal that killed it."""
        status = self._process.poll()
        if status is not None:
            self._close()
        return status

    def wait(self) -> int:
        """Wait until the process ends; return its exit status."""
        status = self._process.wait()
        self._close()
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal that stops the process; it gets no second one if this process ends."""
        self._process.send_signal(number)
        if self._writing is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended
                os.write(self._writing, _STOPPED)

    def _close(self) -> None:
        writing, self._writing = self._writing, None  # a signal handler may write at any time
        if writing is not None:
            os.close(writing)


def follow() -> None:
    """Send SIGTERM to this process when its parent has ended, if it is a TiedProcess.

    Call this before anything that takes time. Processes that this one starts are not affected.
    """
    global _followed
    value = os.environ.pop(_VARIABLE, "")
    if not value.isdecimal() or not _is_pipe(reading := int(value)):
        return
    os.set_inheritable(reading, False)
    _followed = True
    threading.Thread(target=_stop_at_end, args=(reading,), daemon=True).start()


def is_followed() -> bool:
    """Return whether this process stops when its parent has ended."""
    return _followed


def _is_pipe(descriptor: int) -> bool:
    """Return False if a program between the parent and this process has closed the descriptor."""
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except (OSError, OverflowError):
        return False


def _stop_at_end(reading: int) -> None:
    if os.read(reading, 1) != _STOPPED:
        os.kill(os.getpid(), signal.SIGTERM)
