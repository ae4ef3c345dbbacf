"""Processes that hold locks: names for messages, and checks that a process still exists."""

import os
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.errors import UserError


class FolderInUse(UserError):
    """Another process holds the lock of a folder."""


def name() -> str:
    """Return the name of this process for messages."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def description() -> dict[str, Any]:
    """Return this process for `is_gone`: its name (`holder`), number and machine, and the time."""
    return {
        "holder": name(),
        "process": os.getpid(),
        "machine": machine(),
        "time": time.time(),
    }


def is_gone(process: Mapping[str, Any]) -> bool:
    """Return whether a process ran on this machine and has ended.

    Args:
        process: its `description`.
    """
    return process.get("machine") == machine() and not is_running(process["process"])


def machine() -> str:
    """Return an id of the boot of this machine and the namespace in which process numbers count."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux: no holder is known to be gone
        return secrets.token_hex(8)


def is_running(number: int) -> bool:
    """Return whether a process of this machine exists, by its number."""
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


def refusal(folder: epath.PathLike, holder: str) -> FolderInUse:
    """Return the error for a folder that another process has locked.

    Args:
        folder: the folder.
        holder: name of the process, or empty if it is not known.
    """
    by = f" ({holder})" if holder else ""
    return FolderInUse(
        f"{os.fspath(folder)}: another process{by} is using this folder; wait for it or stop it"
    )
