"""Reading what Orbax wrote: in bounded memory, and with a one-line reason if it is damaged."""

import asyncio
import contextlib
import importlib
import re
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage import objects, store_errors
from teacherlm_jax.storage.locations import is_remote

_LONGEST = 200  # characters of a reason
# TensorStore's name of a file that it could not read; the innermost comes last.
_FILE = re.compile(r'local file "([^"]*[^"/])"(?: \[[^:]*)?(?:: )?')
# Details about itself that TensorStore adds to its reasons.
_MACHINERY = re.compile(r"\s*(\[[\w\[\]]+=|\[source |See full TensorStore details).*", re.DOTALL)
# Orbax's module with the settings of TensorStore, and their names there.
_CONTEXTS = (
    "orbax.checkpoint._src.serialization.tensorstore_utils",
    "_BASE_TS_CONTEXT",
    "_DEFAULT_OCDBT_TS_CONTEXT",
)

_Read = TypeVar("_Read")
_Ts = TypeVarTuple("_Ts")


def arrays(item: epath.Path, abstract: Tree) -> Tree:
    """Read the arrays of one item of a checkpoint.

    Args:
        item: folder of the item, such as `checkpoints/100/params`.
        abstract: tree of `jax.ShapeDtypeStruct` with the arrays' shapes, dtypes and shardings.
    """
    # Orbax holds a second copy of all arrays that it reads at the same time. This limits them to
    # the size of the largest array.
    largest = max(array.size * array.dtype.itemsize for array in jax.tree.leaves(abstract))
    handler = ocp.StandardCheckpointHandler(restore_concurrent_gb=1.001 * largest / 1e9)
    with ocp.Checkpointer(handler) as reader:
        return reader.restore(item, ocp.args.StandardRestore(abstract))


def limit_repeats(folder: epath.Path) -> None:
    """Let TensorStore repeat a request to a bucket for `objects.PATIENCE` seconds.

    Its own limit is a quarter of an hour. Orbax copies private contexts for everything that it
    opens, and has no option for them. Nothing happens if `folder` is on this machine.
    """
    if not is_remote(folder):
        return
    first = objects.PATIENCE / 63  # then twice as long each time, at most 16 times: 7 pauses
    repeats = {
        "max_retries": 7,
        "initial_delay": f"{first * 1000:.0f}ms",
        "max_delay": f"{16 * first * 1000:.0f}ms",
    }
    try:
        module = importlib.import_module(_CONTEXTS[0])
        contexts = [getattr(module, name) for name in _CONTEXTS[1:]]
    except (ImportError, AttributeError) as error:
        logging.warning(
            "%s: a request that fails may be retried for 15 minutes, because this version of Orbax "
            "has no setting for it (%s)",
            folder,
            error,
        )
        return
    for context in contexts:
        context["gcs_request_retries"] = repeats


def attempt(folder: epath.Path, read: Callable[[], _Read]) -> tuple[_Read | None, str]:
    """Return the result of `read` on a checkpoint's folder and "", or None and a reason.

    Raises StoreError if a store refuses or does not answer: the checkpoint may be complete.
    """
    try:
        with orderly():
            return read(), ""
    except Exception as error:  # Orbax raises plain Exceptions for truncated files
        if refusal := store_errors.refusal(error, f"{folder}: cannot be read"):
            raise refusal from error
        return None, _reason(error, folder)


def _reason(error: BaseException, folder: epath.Path) -> str:
    """Return a one-line reason for an error of reading below `folder`, with the file if known."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    if not text or isinstance(error, LookupError | AttributeError):
        text = f"{type(error).__name__} {text}".strip()
    what = _MACHINERY.sub("", text).split("\n")[0]
    if named := list(_FILE.finditer(what)):
        what = f"{named[-1][1]}: {what[named[-1].end() :] or 'cannot be read'}"
    return what.replace(f"{folder}/", "")[:_LONGEST]


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that cancels pending tasks before it closes, as `asyncio.run` does."""

    def close(self) -> None:
        if not self.is_closed() and (pending := asyncio.all_tasks(self)):
            for task in pending:
                task.cancel()
            self.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        super().close()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Ignore the failure of a second task: the first one was raised."""

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        # Nothing waits for a read that ends after its loop was closed.
        if self.is_closed():
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon_threadsafe(callback, *args, context=context)


class _Loops:
    """Replaces the event loops that `asyncio.new_event_loop` creates, while anyone needs it.

    Orbax creates its loops by that function and offers no other way to choose them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._original = asyncio.new_event_loop

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._original = asyncio.new_event_loop
                vars(asyncio)["new_event_loop"] = _Loop
            self._users += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                vars(asyncio)["new_event_loop"] = self._original


_loops = _Loops()


def orderly() -> contextlib.AbstractContextManager[None]:
    """Cancel all reads and writes that Orbax starts in the block if one of them fails.

    Orbax leaves the others pending in an event loop that it closes, and TensorStore's threads or
    Python then print a complaint about each of them.
    """
    return _loops
