"""Memory of this machine, and the disks of the folder of runs and of temporary files."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax import host_memory
from teacherlm_jax.doctor.finding import OK, PROBLEM, WARNING, Finding
from teacherlm_jax.errors import one_line
from teacherlm_jax.wording import GIB

_LITTLE_MEMORY, _TOO_LITTLE_MEMORY = 4 * GIB, 1.5 * GIB  # the quickstart needs 1.5 GiB
_LITTLE_SPACE, _TOO_LITTLE_SPACE = 10 * GIB, 1 * GIB
_FEW_FILES = 10_000  # that the disk can still take
_WRITTEN = 4 << 20  # bytes of the file that is written


def memory() -> Finding:
    """Return the finding about the memory of this machine."""
    limit, free = host_memory.limit(), host_memory.available()
    text = f"{free / GIB:.1f} of {limit / GIB:.1f} GiB free, {os.cpu_count()} processors"
    figures = {"limit": limit, "available": free, "processors": os.cpu_count()}
    if free >= _LITTLE_MEMORY:
        return Finding("memory", OK, text, "", figures)
    verdict = PROBLEM if free < _TOO_LITTLE_MEMORY else WARNING
    remedy = "stop other programs (ps aux --sort=-rss | head), or use a machine with more memory"
    return Finding("memory", verdict, text, remedy, figures)


def disks(folder: Path | None) -> Iterator[Finding]:
    """Yield the findings about the disk of a folder on this machine, and of temporary files."""
    if folder is not None:
        yield disk("disk of runs", folder)
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # no folder takes a file
        remedy = "make room in one of them, or name another one in TMPDIR"
        yield Finding("temporary files", PROBLEM, one_line(error.strerror), remedy)
        return
    if folder is None or _device(_existing(folder)) != _device(temporary):
        yield disk("temporary files", temporary)


def disk(name: str, folder: Path) -> Finding:
    """Return the finding about the disk of a folder, which need not exist yet.

    A file is written to it and removed again.
    """
    here = _existing(folder)
    if not here.is_dir():
        return Finding(name, PROBLEM, f"{here} is a file", "name a folder with --folder")
    try:
        seconds = _write(here)
        space = os.statvfs(here)
    except OSError as error:
        reason = f"{here}: {one_line(error.strerror or error)}"
        remedy = "make room, or give yourself write access; or name another folder with --folder"
        return Finding(name, PROBLEM, reason, remedy)
    free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    text = f"{free / GIB:,.1f} of {total / GIB:,.1f} GiB free in {folder}"
    text += f", writes {_WRITTEN / 1e6 / max(seconds, 1e-6):,.0f} MB/s"
    figures = {"folder": str(folder), "free": free, "total": total, "write_seconds": seconds}
    if free < _LITTLE_SPACE:
        verdict = PROBLEM if free < _TOO_LITTLE_SPACE else WARNING
        remedy = "make room, or name another folder; a checkpoint has 12 bytes for each parameter"
        return Finding(name, verdict, text, remedy, figures)
    if space.f_files > 0 and space.f_favail < _FEW_FILES:
        text = f"{folder}: only {space.f_favail:,} more files fit on this disk"
        return Finding(name, WARNING, text, "remove files that you do not need", figures)
    return Finding(name, OK, text, "", figures)


def _write(folder: Path) -> float:
    """Write a file until it is on the disk, and remove it; return the seconds."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".teacherlm-doctor-") as file:
        file.write(os.urandom(_WRITTEN))
        file.flush()
        os.fsync(file.fileno())
    return time.monotonic() - began


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))


def _device(path: Path) -> int:
    return path.stat().st_dev
