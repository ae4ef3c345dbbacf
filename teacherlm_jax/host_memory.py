"""Memory of this machine for one process."""

import os
import resource
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup/memory.max")
_USED = Path("/sys/fs/cgroup/memory.current")
_MEMINFO = Path("/proc/meminfo")


def limit() -> int:
    """Return the bytes that a process can have: of RLIMIT_AS, the cgroup and the machine."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    if (of_group := _number(_CGROUP)) is not None:
        limits.append(of_group)
    return min(limits)


def available() -> int:
    """Return the bytes that are free now, as far as the machine and the cgroup say."""
    free = limit()
    for line in _MEMINFO.read_text().splitlines() if _MEMINFO.exists() else ():
        if line.startswith("MemAvailable:"):
            free = min(free, int(line.split()[1]) * 1024)
    of_group, used = _number(_CGROUP), _number(_USED)
    if of_group is not None and used is not None:
        free = min(free, max(0, of_group - used))
    return free


def _number(path: Path) -> int | None:
    text = path.read_text().strip() if path.exists() else "max"
    return int(text) if text.isdigit() else None
