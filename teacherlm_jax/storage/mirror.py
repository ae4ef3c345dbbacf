"""A folder in a bucket whose files grow: they grow on this machine, and are published whole.

`Mirror` copies the folder here when it is opened, and puts changed files back when it is asked to,
every 30 seconds, and at the end. A file is replaced by one request, so readers of the bucket see
some earlier state of it, never half of one.
"""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.folder_lock import is_running

EVERY = 30.0  # seconds between two publications in the background
_PREFIX = "teacherlm-"  # of the folders on this machine; the process number follows

_KEPT = "unpublished-"  # of those that could not be published

_State = tuple[int, int, int]  # of a file: time of the last change in ns, bytes, inode


class Mirror:
    """A folder in a bucket and its copy on this machine.

    Attributes:
        address: the folder in the bucket.
        folder: its copy, which is removed by `close`.
    """

    def __init__(
        self,
        address: str,
        *,
        apart: Collection[str] = (),
        only: Collection[str] = (),
        unread: str = "",
        nested: str = "",
        last: Sequence[str] = (),
        every: float = EVERY,
        say: Callable[[str], None] = lambda line: None,
    ):
        """Copy the folder from the bucket, and publish changes every few seconds.

        Args:
            address: the folder, such as gs://bucket/runs/a.
            apart: names in the folder that others read and write in the bucket directly; hidden
                names, which begin with a dot, are always left out.
            only: names in the folder to copy and publish; empty: all.
            unread: suffix of files that are published, but not copied from the bucket.
            nested: file that marks a folder inside the folder which is a mirror of its own; what is
                in it is not copied.
            last: names of files to publish after all others, in this order.
            every: seconds between two publications in the background.
            say: gets one line about each publication in the background that fails.
        """
        objects.refuse_missing_bucket(address)
        remove_abandoned()
        self.address = address.rstrip("/")
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._apart, self._only, self._last = frozenset(apart), frozenset(only), list(last)
        self._unread, self._nested, self._say = unread, nested, say
        self._published: dict[str, _State] = {}
        self._one, self._ended = threading.Lock(), threading.Event()
        self._pull()
        self._thread = threading.Thread(target=self._repeat, args=(every,), daemon=True)
        self._thread.start()

    def publish(self) -> int:
        """Put every file that changed, remove those that are gone here; return the requests.

        Raises UserError that names the object if the store refuses.
        """
        with self._one:
            changed = {name: state for name, state in self._files() if self._is_new(name, state)}
            gone = self._published.keys() - {name for name, _ in self._files()}
            for name in sorted(gone):
                objects.remove(f"{self.address}/{name}")
                del self._published[name]
            for name in sorted(changed, key=self._order):
                with contextlib.suppress(FileNotFoundError):  # removed in the meantime
                    objects.upload(self.folder / name, f"{self.address}/{name}")
                    self._published[name] = changed[name]
            return len(changed) + len(gone)

    def close(self, *, publish: bool = True) -> None:
        """Publish for the last time and remove the copy; it stays if publishing fails."""
        self._ended.set()
        self._thread.join()
        try:
            if publish:
                self.publish()
        except UserError as error:
            kept = self.folder.rename(tempfile.mkdtemp(prefix=_KEPT))
            raise UserError(f"{error}; what is not in the bucket yet is in {kept}") from error
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pull(self) -> None:
        names = objects.listing(self.address)
        others = {name.rpartition("/")[0] for name in names if name.endswith(f"/{self._nested}")}
        for name in names:
            if any(name.startswith(f"{folder}/") for folder in others) or not self._is_mine(name):
                continue
            if not (self._unread and name.endswith(self._unread)):
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                objects.download(f"{self.address}/{name}", target)
                self._published[name] = _state(target)

    def _repeat(self, every: float) -> None:
        while not self._ended.wait(every):
            try:
                self.publish()
            except UserError as error:
                self._say(f"{error}; trying again in {every:.0f} s")

    def _is_mine(self, name: str) -> bool:
        parts = name.split("/")
        if parts[0] in self._apart or (self._only and parts[0] not in self._only):
            return False
        return not any(part.startswith(".") for part in parts)

    def _order(self, name: str) -> tuple[int, str]:
        base = name.rpartition("/")[2]
        return self._last.index(base) + 1 if base in self._last else 0, name

    def _files(self) -> Iterator[tuple[str, _State]]:
        for folder, _, names in os.walk(self.folder):
            for file in names:
                path = Path(folder, file)
                name = path.relative_to(self.folder).as_posix()
                if self._is_mine(name):
                    with contextlib.suppress(FileNotFoundError):
                        yield name, _state(path)

    def _is_new(self, name: str, state: _State) -> bool:
        return self._published.get(name) != state


def remove_abandoned() -> None:
    """Remove the copies that processes of this machine left behind when they were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        number = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdigit() and not is_running(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _state(path: Path) -> _State:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
