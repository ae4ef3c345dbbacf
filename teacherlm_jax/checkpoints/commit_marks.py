"""Marks of complete checkpoints in a bucket, where a folder cannot be renamed when it is complete.

Orbax writes `commit_success.txt` to a checkpoint in a bucket last, ignores a checkpoint without it,
and removes it when the folder is opened for writing. But a copy may lack the mark as well, such as
one made by a tool that skips some files, and a process may be killed right before it writes it.
"""

from collections.abc import Iterator
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints.fingerprint import unsealed
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.locations import is_remote

_ARRAYS = ("_METADATA", "manifest.ocdbt")  # Orbax writes them when all arrays are written
_META = "metadata"  # file of the item `meta`


def adopt(folder: epath.Path) -> Iterator[str]:
    """Mark the checkpoints in a bucket that are complete but lack the mark; yield a line for each.

    For an incomplete checkpoint the line says what it lacks; Orbax removes it when the folder is
    opened for writing. Restoring verifies the arrays by digest.

    Args:
        folder: folder of the checkpoints of a run, with one folder per step.
    """
    for name in unmarked(folder):
        step = folder / name
        if lacks := _missing(step):
            yield f"{step}: incomplete checkpoint without {lacks}; it is removed"
            continue
        for item in (*(step / name for name in _items(step)), step):
            files.write_text(item / layout.COMMIT_MARK, f"complete: {step}")
        yield f"{step}: complete checkpoint without {layout.COMMIT_MARK}; the mark was added"


def unmarked(folder: epath.Path) -> list[str]:
    """Return the steps of the checkpoints in a bucket that lack the mark."""
    if not is_remote(folder) or not folder.exists():
        return []
    steps = (step for step in folder.iterdir() if step.name.isdigit())
    without = (step.name for step in steps if not (step / layout.COMMIT_MARK).exists())
    return sorted(without, key=int)


def _items(step: epath.Path) -> list[str]:
    return [name for name in ("params", "optimizer", "meta") if (step / name).exists()]


def _missing(step: epath.Path) -> str:
    """Return the file that a checkpoint lacks, or ""."""
    meta = _read(step / "meta" / _META)
    if meta is None:
        return f"a readable meta/{_META}"
    items = ["params", *(["optimizer"] if "optimizer" in meta else [])]
    wanted = [f"{item}/{name}" for item in items for name in _ARRAYS]
    return next((name for name in wanted if not (step / name).exists()), "")


def _read(path: epath.Path) -> dict[str, Any] | None:
    try:
        return unsealed(files.read_json(path))
    except UserError:
        return None
