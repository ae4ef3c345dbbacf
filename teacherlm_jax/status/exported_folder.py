"""Status of a folder that `convert` exports: a model or a dataset, which is no run folder."""

import os
from pathlib import Path

from etils import epath

from teacherlm_jax.runs import layout
from teacherlm_jax.status import run_state
from teacherlm_jax.status.next_commands import NO_COMMAND, NextCommand
from teacherlm_jax.status.run_progress import RunProgress, duration
from teacherlm_jax.status.run_state import RunState
from teacherlm_jax.status.run_status import RunStatus
from teacherlm_jax.storage.entries import Entry, list_entries
from teacherlm_jax.storage.files import PARTIAL
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.lock_holder import Holder, read_holder
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.wording import counted

_RECENT = 120.0  # seconds since the last write to a folder on a disk that is being exported
_WEIGHTS = (".safetensors", ".bin")
_ADAPTERS = "adapter_config.json"  # of a folder as peft reads it
_CARD = "README.md"


def read_exported(path: str, skew: float) -> RunStatus | None:
    """Return the status of an exported folder, complete or not; None for any other folder."""
    folder = StoragePath(path)
    if is_remote(folder):
        entries = list_entries(folder, skew)
        unfinished = PARTIAL in entries
        holder = read_holder(folder / layout.LOCK, skew) if layout.LOCK in entries else None
    else:
        real = os.path.realpath(path)
        partial = Path(real).with_name(f".{os.path.basename(real)}{PARTIAL}")
        unfinished, holder = partial.is_dir(), None
        entries = list_entries(partial if unfinished else folder)
    files = {name: entry for name, entry in entries.items()
             if not entry.is_folder and not name.startswith(".")}  # fmt: skip
    if not unfinished:
        return _complete(folder, files) if _is_export(files) else None
    return _unfinished(folder, files, holder)


def _is_export(files: dict[str, Entry]) -> bool:
    """Return whether these are the files of a model, of adapters, or of a dataset with its card."""
    described = layout.CONFIG in files or _ADAPTERS in files
    model = described and any(name.endswith(_WEIGHTS) for name in files)
    rows = any(name.startswith("train-") for name in files)
    return model or (_CARD in files and rows)


def _complete(folder: epath.Path, files: dict[str, Entry]) -> RunStatus:
    return RunStatus(
        path=str(folder),
        verb="convert",
        state=RunState(run_state.FINISHED, "", ()),
        progress=_progress(files, "a complete export: "),
    )


def _unfinished(folder: epath.Path, files: dict[str, Entry], holder: Holder | None) -> RunStatus:
    age = min((entry.age or 0.0 for entry in files.values()), default=None)
    alive = holder.alive if holder else age is not None and age < _RECENT
    reason = "" if alive else "the export has not been written to for "
    reason += "" if alive else (duration(age) if age is not None else "an unknown time")
    repeat = NextCommand("resume it: repeat the convert command that started it")
    return RunStatus(
        path=str(folder),
        verb="convert",
        state=RunState(
            run_state.RUNNING if alive else run_state.STOPPED, reason, (holder,) if holder else ()
        ),
        progress=_progress(files, "an export in progress: "),
        next=NO_COMMAND if alive else repeat,
    )


def _progress(files: dict[str, Entry], begin: str) -> RunProgress:
    size = sum(entry.size for entry in files.values())
    text = f"{counted(len(files), 'file')}, {size / 1e9:,.2f} GB"
    return RunProgress(text, (("progress", begin + text),), {"files": len(files), "bytes": size})
