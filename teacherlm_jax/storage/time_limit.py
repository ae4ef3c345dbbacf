"""A time limit for reading from a store with a client that has none.

A read that hangs cannot be stopped, so it runs in a thread that nobody waits for, not even the end
of the process. Threads whose read has ended serve the next ones.
"""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from etils import epath

from teacherlm_jax.errors import StoreError
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.locations import is_remote

_Read = TypeVar("_Read")


def in_time(path: epath.PathLike, read: Callable[[], _Read]) -> _Read:
    """Return the result of `read`, which reads from `path` with a client that has no timeout.

    Raises StoreError if `path` is in a store and there is no result after twice `PATIENCE`.
    """
    if not is_remote(path):
        return read()
    result: Future[_Read] = Future()
    try:
        reader = _idle.pop()
    except IndexError:
        reader = _Reader()
    reader.reads.put((read, result))
    try:
        return result.result(2 * objects.PATIENCE)
    except TimeoutError as error:
        if result.done():  # `read` itself raised it
            raise
        raise StoreError(
            f"{path}: cannot be read: the store did not answer as expected; repeat the command"
        ) from error


class _Reader:
    """A thread that reads for one caller at a time."""

    def __init__(self) -> None:
        self.reads: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="store-reader", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._serve(*self.reads.get())

    def _serve(self, read: Callable[[], Any], result: Future[Any]) -> None:
        try:
            content = read()
        except BaseException as error:
            _idle.append(self)  # before the caller goes on, who may read again at once
            result.set_exception(error)
        else:
            _idle.append(self)
            result.set_result(content)


_idle: deque[_Reader] = deque()
os.register_at_fork(after_in_child=_idle.clear)  # a child process has none of the threads
