"""Reading what Orbax wrote: in bounded memory, and with one line where it is damaged."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import jax
import orbax.checkpoint as ocp

from teacherlm_jax.sharding import Tree

_LONGEST = 200  # characters of a reason
# How TensorStore names the file that it could not read; the innermost comes last.
_FILE = re.compile(r'local file "([^"]*[^"/])"(?: \[[^:]*)?(?:: )?')
# What it adds to its reasons about itself.
_MACHINERY = re.compile(r"\s*(\[[\w\[\]]+=|\[source |See full TensorStore details).*", re.DOTALL)

_Read = TypeVar("_Read")
_Ts = TypeVarTuple("_Ts")


def arrays(item: Path, abstract: Tree) -> Tree:
    """The arrays of an item of a checkpoint, with the shapes and shardings of `abstract`."""
    # Reading takes a second copy of what is read at the same time: no more than one large array,
    # then, and as many small ones as are as large together.
    largest = max(array.size * array.dtype.itemsize for array in jax.tree.leaves(abstract))
    handler = ocp.StandardCheckpointHandler(restore_concurrent_gb=1.001 * largest / 1e9)
    with ocp.Checkpointer(handler) as reader:
        return reader.restore(item, ocp.args.StandardRestore(abstract))


def attempt(folder: Path, read: Callable[[], _Read]) -> tuple[_Read | None, str]:
    """What `read` gives of a checkpoint's folder; or None, and why it cannot be read."""
    try:
        with orderly():
            return read(), ""
    except Exception as error:  # for files that were cut, Orbax raises just that
        return None, _reason(error, folder)


def _reason(error: BaseException, folder: Path) -> str:
    """Why something below `folder` could not be read and, where that is known, which file."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    if not text or isinstance(error, LookupError | AttributeError):
        text = f"{type(error).__name__} {text}".strip()
    what = _MACHINERY.sub("", text).split("\n")[0]
    if named := list(_FILE.finditer(what)):
        what = f"{named[-1][1]}: {what[named[-1].end() :] or 'cannot be read'}"
    return what.replace(f"{folder}/", "")[:_LONGEST]


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Ends all reads and writes that Orbax begins in the block, also when one of them fails.

    It leaves the others in an event loop that it closes, and each of them is then complained of on
    the console, by TensorStore's threads or by Python.
    """
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_Policy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(before)


class _Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return _Loop()


class _Loop(asyncio.SelectorEventLoop):
    """A loop that ends what it has begun before it closes, as `asyncio.run` does, and is quiet."""

    def close(self) -> None:
        if not self.is_closed() and (begun := asyncio.all_tasks(self)):
            for task in begun:
                task.cancel()
            self.run_until_complete(asyncio.gather(*begun, return_exceptions=True))
        super().close()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Says nothing of a second one that fails: the first has been told of."""

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        # What ends when the loop is closed is waited for by nobody.
        if self.is_closed():
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon_threadsafe(callback, *args, context=context)
