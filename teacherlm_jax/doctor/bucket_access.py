"""Access to a folder in a bucket: each kind of request that a run makes, with its duration."""

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from teacherlm_jax.doctor.finding import OK, PROBLEM, SKIPPED, WARNING, Finding
from teacherlm_jax.errors import ExplainedError
from teacherlm_jax.runs.console import quiet_stderr
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.paths import client

_SLOW = 1.0  # seconds of one request
_OF_OBJECT = ("bucket: create again", "bucket: read", "bucket: delete")
_FAR = "use a bucket in the region of this machine; requests to another one are slow and cost money"


class _Failed(Exception):
    """A request had another result than expected."""


def examine(folder: str) -> Iterator[Finding]:
    """Yield a finding for each kind of request; the object that is written is removed again."""
    folder = folder.rstrip("/")
    probe = f"{folder}/.teacherlm-doctor-{secrets.token_hex(6)}"
    content = secrets.token_bytes(1024)
    try:
        client(folder)  # its import takes a second, which must not count
    except ExplainedError as error:  # the packages are not installed
        yield _problem("bucket", error)
        return
    yield _timed("bucket", lambda: _open(folder), objects.bucket_of(folder))
    created = _timed("bucket: create", lambda: _create(probe, content), "a new object")
    yield created
    exists = created.verdict != PROBLEM
    yield _timed("bucket: list", lambda: _list(folder, probe if exists else ""), f"of {folder}")
    if not exists:
        skipped = "not tried, because no object could be created"
        yield from (Finding(name, SKIPPED, skipped) for name in _OF_OBJECT)
        return
    again, read, delete = _OF_OBJECT
    yield _timed(again, lambda: _create_again(probe), "refused, as locks need it")
    yield _timed(read, lambda: _read(probe, content), "the object is as written")
    yield _timed(delete, lambda: _delete(probe), "the object is gone")


def _timed(name: str, work: Callable[[], str | None], text: str) -> Finding:
    """Return the finding about a request, with its time; what it returns is added to the text."""
    began = time.monotonic()
    try:
        with quiet_stderr():
            more = work() or ""
    except ExplainedError as error:
        return _problem(name, error)
    except _Failed as error:
        return Finding(name, PROBLEM, f"{error}", "report it: runs rely on this")
    seconds = time.monotonic() - began
    figures: dict[str, Any] = {"seconds": round(seconds, 4)}
    shown = f"{text}{more}, in {1000 * seconds:,.0f} ms"
    if seconds > _SLOW:
        return Finding(name, WARNING, shown, _FAR, figures)
    return Finding(name, OK, shown, "", figures)


def _problem(name: str, error: ExplainedError) -> Finding:
    message, _, remedy = str(error).partition("; ")
    return Finding(name, PROBLEM, message, remedy or "repeat the command")


def _open(folder: str) -> str:
    objects.refuse_missing_bucket(folder)
    location = objects.describe_bucket(folder).get("location")
    return f" is in {location}" if location else ""


def _create(probe: str, content: bytes) -> None:
    if not objects.create(probe, content):
        raise _Failed(f"{probe}: exists already, although its name is new")


def _create_again(probe: str) -> None:
    """Create the object again, which must be refused, because locks and claims rely on it."""
    if objects.create(probe, b"another"):
        raise _Failed(f"{probe}: was created twice, so locks in this bucket do not work")


def _list(folder: str, probe: str) -> None:
    """List the folder, which must show the object `probe`, if there is one."""
    if probe.rpartition("/")[2] not in ("", *objects.entries(folder)):
        raise _Failed(f"{folder}: the listing lacks the object that was just written")


def _read(probe: str, content: bytes) -> None:
    if objects.read(probe) != content:
        raise _Failed(f"{probe}: its content differs from what was written")


def _delete(probe: str) -> None:
    objects.remove(probe)
    if objects.read(probe) is not None:
        raise _Failed(f"{probe}: still exists after it was deleted")
