"""Identity of a run: its settings and the digests of its inputs, never paths.

A run folder may move, and its inputs may move too; the same command then resumes the run. A run
with other settings or other inputs needs a folder of its own.
"""

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.locations import is_remote

# Names, or patterns of names, in the folder of a run that was refused before its work began.
_BEFORE_WORK = (
    *(layout.CONFIG, layout.VERSIONS, layout.INPUTS, layout.LOG, layout.log_of("*"), layout.LOCK),
    *(layout.CHECK, layout.WORK, layout.REFUSED, layout.refused("*"), layout.OVERLAPS),
    *(layout.JOB, layout.SHARDS, layout.CLAIMS, layout.WORKERS),
    *(layout.TRACKING, layout.TENSORBOARD, layout.WANDB),
)

_BEFORE_FIRST_STEP = {layout.VOCABULARY}  # of a training


def work_began(folder: epath.Path) -> bool:
    """Return whether a run folder holds results; empty folders and refused rows do not count.

    Neither does what a training writes before its first step, such as one that runs out of memory.
    """
    entries = work_entries(folder)
    if entries != _BEFORE_FIRST_STEP:
        return bool(entries)
    recorded = folder / layout.CONFIG
    return not (files.exists(recorded) and files.read_json(recorded)["verb"] == "train")


def work_entries(folder: epath.Path) -> set[str]:
    """Return the names of the files and folders in a run folder that hold results."""
    return {name for name in files.names(folder) if _is_work(folder / name)}


def _is_work(entry: epath.Path) -> bool:
    if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in _BEFORE_WORK):
        return False
    return is_remote(entry) or not entry.is_dir() or any(entry.iterdir())


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dicts and sequences as one dict with keys such as "sources[0].path"."""
    items: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)) and value:
        items = ((f"[{index}]", item) for index, item in enumerate(value))
    else:
        return {prefix: list(value) if isinstance(value, tuple) else value}
    flat: dict[str, Any] = {}
    for key, item in items:
        joined = f"{prefix}{key}" if key.startswith("[") or not prefix else f"{prefix}.{key}"
        flat |= flatten(item, joined)
    return flat


def started_with(folder: epath.Path) -> dict[str, Any] | None:
    """Return the verb and config that a run was started with; None if its work has not begun."""
    recorded = folder / layout.CONFIG
    return files.read_json(recorded) if work_began(folder) and files.exists(recorded) else None


def changed_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], ignored: Iterable[str]
) -> dict[str, tuple[Any, Any]]:
    """Return the old and the new value of each setting that differs, by key.

    Args:
        before: a verb and its config, as they were written to `config.json`.
        now: a verb and its config.
        ignored: keys of the config that are not compared because they hold paths.
    """
    old, new = flatten(dict(before)), flatten(dict(now))
    skipped = {f"config.{key}" for key in ignored}
    return {
        key: (old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in skipped
    }


def refuse_other_settings(
    folder: epath.Path, changes: Mapping[str, tuple[Any, Any]], may_change: Iterable[str]
) -> None:
    """Raise UserError for the first changed setting that a run may not change.

    Args:
        folder: the run folder.
        changes: settings that differ from those that the run was started with.
        may_change: keys that do not change the result; a key of a part of the config, such as
            "mesh", includes all keys of that part, and "" all keys.
    """
    for key, (before, now) in changes.items():
        if not any(belongs_to(key, f"config.{part}" if part else "config") for part in may_change):
            raise UserError(
                f"{folder}: this run was started with {key}={before!r}, but now {key}={now!r}; "
                "choose another config.output, or remove the folder to start over"
            )


def belongs_to(key: str, part: str) -> bool:
    """Return whether a key of a flattened config is `part`, or a key of that part of the config."""
    return key == part or key.startswith((f"{part}.", f"{part}["))


def check_inputs(folder: epath.Path, inputs: Mapping[str, str], paths: Mapping[str, str]) -> None:
    """Record the digests of a run's inputs, or raise UserError if they changed since.

    Digests are recorded until the run's work begins and compared from then on.

    Args:
        folder: the run folder.
        inputs: digests by config key, such as "data" or "benchmarks.creak".
        paths: paths by config key, shown in the message.
    """
    if not compare_inputs(folder, inputs, paths):
        files.write_json(folder / layout.INPUTS, dict(inputs))


def compare_inputs(folder: epath.Path, inputs: Mapping[str, str], paths: Mapping[str, str]) -> bool:
    """Raise UserError if a run's inputs changed since its work began; see `check_inputs`.

    Nothing is written. Returns False if there is nothing to compare with.
    """
    recorded = folder / layout.INPUTS
    began = work_began(folder) and files.exists(recorded)
    before = files.read_json(recorded) if began else None
    if before is None:
        return False
    changes = [
        _change(key, paths.get(key), before.get(key), inputs.get(key))
        for key in sorted(before.keys() | inputs.keys())
        if before.get(key) != inputs.get(key)
    ]
    if changes:
        raise UserError(
            f"{folder}: inputs changed since this run was started: {', '.join(changes)}; restore "
            "them to resume the run, or choose another config.output"
        )
    return True


def _change(key: str, path: str | None, before: str | None, now: str | None) -> str:
    shown = f"config.{key}={path}" if path else f"config.{key}"
    if before is None:
        return f"{shown} (new, digest {now})"
    if now is None:
        return f"{shown} (no longer used, digest {before})"
    return f"{shown} (digest {now}, was {before})"
