"""Run folders at and below a path, and an error for a path that holds none."""

from collections.abc import Sequence

from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.entries import list_entries
from teacherlm_jax.storage.paths import StoragePath

_NO_RUNS_INSIDE = (
    *(layout.CHECKPOINTS, layout.TENSORBOARD, layout.TEXTS, layout.SAMPLES, layout.VOCABULARY),
    *(layout.SHARDS, layout.COUNTS, layout.SKETCHES, layout.REJECTED, layout.PROFILE),
)
_LEVELS = 4  # above a path, in which a run that contains it is searched
_SHOWN = 5  # names in a message


def is_run(folder: epath.Path) -> bool:
    """Return whether a folder is that of a run, also of one whose `config.json` is damaged."""
    if files.exists(folder / layout.VERSIONS):  # a folder of the Hugging Face format has none
        return True
    if not files.exists(folder / layout.CONFIG):
        return False
    try:
        content = files.read_json(folder / layout.CONFIG)
    except UserError:
        return files.exists(folder / layout.LOG)
    return isinstance(content, dict) and "verb" in content


def find(path: str) -> list[epath.Path]:
    """Return the run at a path, or the runs below it that are not inside another one.

    Raises UserError that says what is there instead.
    """
    folder = StoragePath(path)
    if files.is_folder(folder):
        if is_run(folder):
            return [folder]
        if below := outermost(runs_below(folder)):
            return below
    outer = next(filter(is_run, [*folder.parents][:_LEVELS]), None)
    if outer is not None and (files.exists(folder) or files.is_folder(folder)):
        raise UserError(
            f"{path}: this is a part of the run {outer}; name that folder, as in teacherlm status "
            f"{outer}"
        )
    if not files.is_folder(folder):
        there = "is a file" if files.exists(folder) else "there is no such folder"
        raise UserError(f"{path}: {there}; name the config.output of a command")
    raise UserError(
        f"{path}: expected a run or a folder with runs, found {_content(folder)}; name the "
        "config.output of a command, or a folder above it"
    )


def runs_below(folder: epath.Path) -> list[epath.Path]:
    """Return the run folders below a folder, sorted."""
    found = files.folders_with(folder, layout.CONFIG, _NO_RUNS_INSIDE)
    return [run for run in found if str(run) != str(folder) and is_run(run)]


def outermost(runs: Sequence[epath.Path]) -> list[epath.Path]:
    """Return the runs that are not inside another one of them."""
    kept: list[epath.Path] = []
    for run in sorted(runs, key=str):
        if not any(str(run).startswith(f"{outer}/") for outer in kept):
            kept.append(run)
    return kept


def _content(folder: epath.Path) -> str:
    """Return what a folder contains, as text."""
    entries = list_entries(folder)
    if layout.MANIFEST in entries:
        return "a mixture that `prepare` wrote"
    if layout.CONFIG in entries and any(name.endswith(".safetensors") for name in entries):
        return "a model in the Hugging Face format"
    if not entries:
        return "an empty folder"
    names = sorted(entries)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
