"""The exceptions whose messages users read."""


class UserError(Exception):
    """Input that cannot be used: a file, a row, a key of a config, a checkpoint.

    The message is all that the user sees (no traceback), so it names the thing, the value found,
    the value wanted and the way out. The command exits with status 2.
    """


def one_line(said: object) -> str:
    """The words of a library's error, which may stand on several lines, on one."""
    return " ".join(str(said).split())


class Interrupted(Exception):
    """The run was told to stop, saved what it had, and can be continued by the same command.

    The message is all that the user sees.

    Attributes:
        status: exit status of the command: 128 plus the signal's number, SIGTERM's by default; 75
            where another process did not come.
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
