"""Place where the files of a run are written: its folder, or the local copy of one in a bucket."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from etils import epath

from teacherlm_jax.config.names import BUCKET
from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.runs import console, distributed, layout, parent_process
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import folder_lock, objects
from teacherlm_jax.storage.folder_lock import FolderLock
from teacherlm_jax.storage.holders import FolderInUse
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.mirror import Mirror
from teacherlm_jax.storage.mirrored_files import MirroredFiles
from teacherlm_jax.storage.paths import StoragePath

_POLL_SECONDS = 0.5  # between two attempts to take the lock of a folder
# Timeout for the same command of an earlier pipeline, which was killed, to save and exit.
_SAVE_SECONDS = 120.0
# What a resumed run does not read: rows that `prepare` has written, and traces.
_UNREAD = (".array_record", layout.PROFILE)
_FILES = MirroredFiles(
    apart=(layout.CHECKPOINTS,),
    unread=_UNREAD,
    nested=layout.CONFIG,
    last=(layout.MANIFEST, layout.RESULT),  # they say that what they describe is complete
)


@dataclasses.dataclass
class RunPlace:
    """The folder of a run: locked, or shared by several processes.

    A process of a shared folder writes its log and its lists of refused rows in `path`, and all
    other files at `address`, in a bucket, too.

    Attributes:
        address: where the run is, as the user named it.
        path: the folder on this machine in which its files are written.
        shared: whether other processes may work in the folder at the same time.
        say: shows lines about the lock and about publications in the background that fail.
    """

    address: epath.Path
    path: Path
    shared: bool = False
    _lock: FolderLock | None = None
    _mirror: Mirror | None = None
    say: Callable[[str], None] = console.say
    _said: set[str] = dataclasses.field(default_factory=set)

    @property
    def home(self) -> epath.Path:
        """The folder with the settings and the result of the run."""
        return self.address if self.shared else StoragePath(self.path)

    @functools.cached_property
    def workers(self) -> Workers:
        """The processes at work in a shared folder."""
        return Workers(self.address / layout.WORKERS, lambda line: self.say(line))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of a shared folder in the block; other processes wait for it."""
        if not self.shared:  # the lock is held all the time
            yield
            return
        lock = self.address / layout.LOCK
        self._lock = folder_lock.acquire_when_free(lock, self.say, self._say_of_disk)
        try:
            yield
            self._lock.check()
        finally:
            self._release()
            self._lock = None

    def _say_of_disk(self, line: str) -> None:
        """Show once that the disk has no locks."""
        if line not in self._said:
            self._said.add(line)
            self.say(line)

    def share(self, log: str) -> None:
        """Copy the files that this process writes from a bucket: its log and the refused rows."""
        if is_remote(self.address):
            own = MirroredFiles(only=(log, layout.REFUSED, layout.refused("*")))
            self._mirror = Mirror(str(self.address), own, say=lambda line: self.say(line))
            self.path = self._mirror.folder

    def publish(self) -> None:
        """Publish the files that changed if the run is in a bucket.

        Raises StoreError if the store refuses, and UserError if another process has the lock.
        """
        if self._mirror is not None:
            self._mirror.publish()

    def translate(self, message: str) -> str:
        """Return a message with addresses in the bucket in place of paths of the copy."""
        if self._mirror is None:
            return message
        return message.replace(str(self.path), str(self.address))

    def translate_error(self, error: BaseException) -> None:
        """Put addresses in the bucket into the message of an ExplainedError."""
        if isinstance(error, ExplainedError):
            error.args = (self.translate(str(error)),)

    @contextlib.contextmanager
    def translating(self) -> Iterator[None]:
        """Put addresses in the bucket into the message of an ExplainedError of the block."""
        try:
            yield
        except ExplainedError as error:
            self.translate_error(error)
            raise

    def close(self) -> None:
        """Publish for the last time, remove the copy, and release the lock.

        The lock is removed, too, if nothing else is in the folder in the bucket. Lines are printed,
        because the log is closed.
        """
        self.say = console.say
        with contextlib.ExitStack() as closing:
            if self.shared:
                closing.callback(self.workers.leave)
            if self._lock is not None:
                closing.callback(self._release)
            if self._mirror is not None:
                self._mirror.close()

    def _release(self) -> None:
        if self._lock is None:
            return
        unused = False
        if is_remote(self.address):
            with contextlib.suppress(ExplainedError):  # then the lock stays, which does no harm
                names = objects.listing(self.address)
                unused = all(name.startswith(f"{layout.LOCK}/") for name in names)
        self._lock.release(remove=unused)


def open_place(output: str) -> RunPlace:
    """Lock the folder of a run, and copy its files to this machine if it is in a bucket.

    A folder on this machine is created if it does not exist. Raises UserError if the folder cannot
    be used or another process uses it; a step of a pipeline waits for that process before.
    """
    place = RunPlace(check_address(output), Path(output))

    def say(line: str) -> None:
        place.say(line)

    if not is_remote(place.address):
        place._lock = _acquired(place.path / layout.LOCK, say)
        return place
    objects.refuse_missing_bucket(place.address)
    place._lock = _acquired(place.address / layout.LOCK, say)
    try:
        place._mirror = Mirror(str(place.address), _FILES, check=place._lock.check, say=say)
    except BaseException:
        place._release()
        raise
    place.path = place._mirror.folder
    return place


def _acquired(lock: epath.Path | Path, say: Callable[[str], None]) -> FolderLock:
    """Take the lock of a folder, as a step of a pipeline with a timeout.

    A pipeline that was killed has stopped its steps, and the same step may still be saving. If
    several processes work together, the others would not wait that long for this one.
    """
    may_wait = parent_process.is_followed() and distributed.process_count() == 1
    waiting, end = False, time.monotonic() + _SAVE_SECONDS

    def say_before(line: str) -> None:
        if not waiting:
            say(line)

    while True:
        try:
            taken = folder_lock.acquire(lock, say=say_before)
            waiting = False  # the lock keeps the function
            return taken
        except FolderInUse as error:
            if not may_wait or time.monotonic() > end:
                raise
            in_use = str(error).partition("; ")[0]
            say_before(f"{in_use}; waiting up to {_SAVE_SECONDS:.0f} s for it to save and exit")
            waiting = True
        time.sleep(_POLL_SECONDS)


def open_shared_place(output: str) -> RunPlace:
    """Open the folder of a run that several processes share; see `RunPlace.alone`.

    A folder on this machine is created if it does not exist. Raises UserError if the folder cannot
    be used.
    """
    place = RunPlace(check_address(output), Path(output), shared=True)
    if is_remote(place.address):
        objects.refuse_missing_bucket(place.address)
    else:
        place.path.mkdir(parents=True, exist_ok=True)
    return place


def follow_place(output: str, index: int) -> RunPlace:
    """Open the folder of a run in a process that is not the first: it writes a log and profiles."""
    place = RunPlace(check_address(output), Path(output))
    if is_remote(place.address):
        own = MirroredFiles(only=(layout.log_of(index), layout.PROFILE), unread=_UNREAD)
        place._mirror = Mirror(str(place.address), own, say=lambda line: place.say(line))
        place.path = place._mirror.folder
    return place


def check_address(output: str) -> epath.Path:
    """Return the path of a run folder; raise UserError if it cannot hold a run."""
    if not output:
        raise UserError(
            "config.output: empty; name the run folder, as in --config.output=runs/mine"
        )
    if "://" in output and not output.startswith(BUCKET):  # other stores have no lock
        raise UserError(
            f"config.output={output}: expected a folder on this machine or in a bucket (gs://…); "
            "mount any other store, or a disk that all machines share, and name a folder on it"
        )
    address = StoragePath(output)
    if not is_remote(address) and address.exists() and not address.is_dir():
        raise UserError(f"{output}: is a file; config.output must name a folder")
    return address
