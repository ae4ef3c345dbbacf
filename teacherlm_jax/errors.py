"""Exceptions whose messages are written for users."""

import contextlib
from collections.abc import Callable, Iterable, Iterator


class ExplainedError(Exception):
    """Base of errors whose message is all that the user sees (no traceback).

    The message names the file, row or key, the value found, the value expected, and what to do. The
    command exits with status 2. Catch this class only to pass the message on: code that tries
    something else after an error catches `UserError`, so that it never takes a store that does not
    answer for a file that is missing or invalid.
    """


class UserError(ExplainedError):
    """Input that cannot be used: a file, a row, a config key or a checkpoint."""


class MissingFile(UserError):
    """A file that does not exist, or was removed since it was listed."""


class StoreError(ExplainedError):
    """A store refused a request or did not answer, so the object may exist or not."""


@contextlib.contextmanager
def at_end(work: Callable[[], object]) -> Iterator[None]:
    """Call `work` after the block; if the block raises, an error of `work` does not replace that.

    The full disk or the store that ended the block refuses `work`, too. Of both errors, that of the
    block says what happened first.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(ExplainedError, OSError):
            work()
        raise
    work()


def call_all(works: Iterable[Callable[[], object]]) -> None:
    """Call all `works`, also after one that a store or disk refuses; then raise the first error.

    An error of another kind ends the calls at once.
    """
    first: Exception | None = None
    for work in works:
        try:
            work()
        except (ExplainedError, OSError) as error:
            first = first or error
    if first is not None:
        raise first


def one_line(message: object) -> str:
    """Return a library's error message, which may have several lines, as one line."""
    return " ".join(str(message).split())


class Interrupted(Exception):
    """The run was stopped and saved; the same command resumes it.

    The message is all that the user sees.

    Attributes:
        status: exit status of the command: 128 plus the number of the signal (default: SIGTERM), or
            75 if another process did not start.
    """

    def __init__(self, message: str, status: int = 143):
        super().__init__(message)
        self.status = status


_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "std::bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, such as one of JAX's runtime, says that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in _OUT_OF_MEMORY)
