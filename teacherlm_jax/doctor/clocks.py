"""Clocks: of this machine, and of the machines that wrote heartbeats in a folder."""

import contextlib
import email.utils
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from teacherlm_jax.doctor.finding import OK, PROBLEM, SKIPPED, WARNING, Finding
from teacherlm_jax.errors import ExplainedError, MissingFile, one_line
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.entries import list_entries
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.lock_holder import Holder, of_heartbeat, read_holder
from teacherlm_jax.storage.paths import StoragePath

_LARGE, _TOO_LARGE = 5.0, 300.0  # seconds; Google refuses credentials with more, after 10 minutes
_REMEDY = "synchronize the clock (timedatectl set-ntp true, or chronyc makestep)"
_SERVER_SECONDS = 10


def of_this_machine(folder: str, server: str) -> Finding:
    """Return the finding about the clock of this machine, beside that of a bucket or a server."""
    name = "clock"
    try:
        if server:
            skew, error = _beside_server(server)
        elif is_remote(folder):
            skew, error = objects.clock_skew(folder)
        else:
            text = "not compared: name a bucket (--folder=gs://…) or a server (--server=https://…)"
            return Finding(name, SKIPPED, text)
    except ExplainedError as problem:
        return Finding(name, SKIPPED, f"not compared: {str(problem).partition('; ')[0]}")
    except (OSError, http.client.HTTPException, KeyError, TypeError, ValueError) as problem:
        reason = f"{server}: {one_line(problem) or type(problem).__name__}"
        return Finding(name, SKIPPED, f"not compared: {reason}")
    against = server or objects.bucket_of(folder)
    return _judged(name, skew, error, f"the clock of {against}")


def _beside_server(server: str) -> tuple[float, float]:
    """Return the seconds by which this clock is ahead of a server's, and the error of that."""
    before = time.time()
    request = urllib.request.Request(server, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_SERVER_SECONDS) as answer:
            stated = answer.headers["Date"]
    except urllib.error.HTTPError as answer:  # an answer as well
        stated = answer.headers["Date"]
    after = time.time()
    theirs = email.utils.parsedate_to_datetime(stated).timestamp() + 0.5
    return (before + after) / 2 - theirs, (after - before) / 2 + 0.5


def of_other_machines(folder: str) -> Iterator[Finding]:
    """Yield a finding for each process that wrote a heartbeat in a folder.

    The time that it states is compared with the time at which the disk or bucket got it.
    """
    try:
        skew = objects.clock_skew(folder)[0] if is_remote(folder) else 0.0
        held = list(_heartbeats(folder, skew))
    except ExplainedError as problem:
        yield Finding("clock of a host", SKIPPED, str(problem).partition("; ")[0])
        return
    for holder in held:
        if holder.clock is not None:
            ahead = holder.clock - (time.time() - skew - holder.age)
            yield _judged("clock of a host", ahead, 1.0, f"{holder.name}, beside the folder's")


def _heartbeats(folder: str, skew: float) -> Iterator[Holder]:
    path = StoragePath(folder)
    if layout.LOCK in list_entries(path) and (holder := read_holder(path / layout.LOCK, skew)):
        yield holder
    for name, entry in list_entries(path / layout.WORKERS, skew).items():
        if name.endswith(".json") and not name.startswith("."):
            worker = path / layout.WORKERS / name
            with contextlib.suppress(MissingFile):  # it has left
                yield of_heartbeat(worker, files.read_json(worker), entry.age or 0.0)


def _judged(name: str, ahead: float, error: float, against: str) -> Finding:
    direction = "ahead of" if ahead > 0 else "behind"
    figures = {"seconds_ahead": round(ahead, 2), "error": round(error, 2)}
    if abs(ahead) <= max(_LARGE, 2 * error):
        return Finding(name, OK, f"within {abs(ahead) + error:.1f} s of {against}", "", figures)
    verdict = PROBLEM if abs(ahead) > _TOO_LARGE else WARNING
    return Finding(name, verdict, f"{abs(ahead):,.0f} s {direction} {against}", _REMEDY, figures)
