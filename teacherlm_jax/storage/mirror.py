"""A folder in a bucket with a copy on this machine, where files grow until they are uploaded whole.

`Mirror` downloads the folder when it is opened, and uploads changed files (publishes them) when
`publish` is called, every 30 seconds, and at the end. Each file is replaced atomically, so readers
of the bucket see an earlier version of it, but never a part of one.
"""

import contextlib
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from teacherlm_jax.errors import ExplainedError, StoreError
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.mirrored_files import ALL_FILES, MirroredFiles
from teacherlm_jax.storage.repeated import say_if_possible
from teacherlm_jax.storage.temporary import TemporaryFolder

EVERY = 30.0  # seconds between two publications in the background
_MANY = 100  # files that are worth a line
_REQUESTS = 16  # at the same time

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
        files: MirroredFiles = ALL_FILES,
        *,
        every: float = EVERY,
        check: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda line: None,
    ):
        """Copy the folder from the bucket, and publish changes every few seconds.

        Args:
            address: the folder, such as gs://bucket/runs/a.
            files: those that are copied and published.
            every: seconds between two publications in the background.
            check: raises UserError if this process may not publish any more.
            say: gets lines about long copies, and about publications in the background that fail.

        Raises UserError if the bucket does not exist, and StoreError if the store refuses.
        """
        objects.refuse_missing_bucket(address)
        self.address = address.rstrip("/")
        self._mirrored, self._check, self._say = files, check, say
        self._published: dict[str, _State] = {}
        self._publishing, self._ended = threading.Lock(), threading.Event()
        self._temporary = TemporaryFolder(say)
        self.folder = self._temporary.path
        self._pull()
        self._thread = threading.Thread(target=self._repeat, args=(every,), daemon=True)
        self._thread.start()

    def publish(self) -> int:
        """Put every file that changed, remove those that are gone here; return the requests.

        Raises StoreError that names the object if the store refuses, and whatever `check` raises.
        """
        with self._publishing:
            self._check()
            present = dict(self._files())
            changed = [name for name in present if self._published.get(name) != present[name]]
            gone = self._published.keys() - present.keys()
            for name in sorted(gone):
                objects.remove(f"{self.address}/{name}")
                del self._published[name]
            first, after = self._mirrored.in_order(changed)
            with ThreadPoolExecutor(_REQUESTS) as requests:
                for name, _ in zip(first, requests.map(self._upload, first), strict=True):
                    self._published[name] = present[name]
            for name in after:
                self._upload(name)
                self._published[name] = present[name]
            return len(changed) + len(gone)

    def close(self) -> None:
        """Publish for the last time and remove the copy.

        If that fails or is interrupted, the copy stays, and the error or a line names it. Unless
        another process has the folder now, it also has the command that copies the files by hand.
        """
        self._ended.set()
        try:
            self._thread.join()
            self.publish()
        except ExplainedError as error:
            self._temporary.keep()
            remedy = self._remedy() if isinstance(error, StoreError) else ""
            raise type(error)(f"{error}; {self._unpublished()}{remedy}") from error
        except BaseException:  # such as Ctrl-C
            self._temporary.keep()
            self._say(f"{self.address}: {self._unpublished()}{self._remedy()}")
            raise
        self._temporary.close()

    def _unpublished(self) -> str:
        return f"files that are not in the bucket yet are in {self.folder}"

    def _remedy(self) -> str:
        copied = f"{shlex.quote(str(self.folder))}/* {shlex.quote(self.address)}/"
        return f"; repeat the command, or copy them: gcloud storage cp --recursive {copied}"

    def _pull(self) -> None:
        sizes = objects.listing(self.address)
        names = self._mirrored.copied(sizes)
        if len(names) > _MANY:
            megabytes = sum(sizes[name] for name in names) / 1e6
            self._say(f"{self.address}: copying {len(names)} files, {megabytes:.0f} MB")
        with ThreadPoolExecutor(_REQUESTS) as requests:
            for name, state in zip(names, requests.map(self._download, names), strict=True):
                self._published[name] = state

    def _download(self, name: str) -> _State:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        objects.download(f"{self.address}/{name}", target)
        return _state(target)

    def _upload(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # it was removed in the meantime
            objects.upload(self.folder / name, f"{self.address}/{name}")

    def _repeat(self, every: float) -> None:
        while not self._ended.wait(every):
            try:
                self.publish()
            except Exception as error:  # of the store, its client or the disk
                say_if_possible(self._say, f"{error}; trying again in {every:.0f} s")

    def _files(self) -> Iterator[tuple[str, _State]]:
        for folder, _, names in os.walk(self.folder):
            for file in names:
                path = Path(folder, file)
                name = path.relative_to(self.folder).as_posix()
                if self._mirrored.published(name):
                    with contextlib.suppress(FileNotFoundError):
                        yield name, _state(path)


def _state(path: Path) -> _State:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
