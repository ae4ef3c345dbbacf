"""Run folders at and below a path, and an error for a path that holds none."""

import dataclasses
from collections.abc import Mapping, Sequence

from etils import epath

from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files, folder_search
from teacherlm_jax.storage.entries import list_entries
from teacherlm_jax.storage.paths import StoragePath

# Files that a model in the Hugging Face format does not have beside its `config.json`.
_OF_RUNS = (layout.INPUTS, layout.LOG, layout.LOCK, layout.RESULT)
_LEVELS = 4  # above a path, in which a run that contains it is searched
_SHOWN = 5  # names in a message


@dataclasses.dataclass(frozen=True)
class FoundRuns:
    """Result of a search for runs.

    Attributes:
        runs: the run folders, sorted.
        refused: the reason by each folder that cannot be searched, so that runs may be missing.
    """

    runs: Sequence[epath.Path]
    refused: Mapping[epath.Path, str] = dataclasses.field(default_factory=dict)

    def outermost(self) -> "FoundRuns":
        """Return those that are not inside a run."""
        kept: list[epath.Path] = []

        def is_inside(folder: epath.Path) -> bool:
            return any(str(folder).startswith(f"{run}/") for run in kept)

        for run in sorted(self.runs, key=str):
            if not is_inside(run):
                kept.append(run)
        refused = {path: why for path, why in self.refused.items() if not is_inside(path)}
        return FoundRuns(kept, refused)


def is_run(folder: epath.Path) -> bool:
    """Return whether a folder is that of a run, also of one whose `config.json` is damaged.

    Raises UserError if the folder cannot be read.
    """
    if files.exists(folder / layout.VERSIONS):  # a folder of the Hugging Face format has none
        return True
    if not files.exists(folder / layout.CONFIG):
        return False
    try:
        content = files.read_json(folder / layout.CONFIG)
    except UserError:
        content = None
    if isinstance(content, dict):
        return "verb" in content
    return any(files.exists(folder / name) for name in _OF_RUNS)


def find(path: str) -> FoundRuns:
    """Return the run at a path, or the runs below it that are not inside another one.

    Raises UserError that says what is there instead.
    """
    folder = StoragePath(path)
    if files.is_folder(folder):
        if is_run(folder):
            return FoundRuns([folder])
        below = runs_below(folder).outermost()
        if below.runs or below.refused:
            return below
    outer = next(filter(is_run, [*folder.parents][:_LEVELS]), None)
    if outer is not None and (files.exists(folder) or files.is_folder(folder)):
        raise UserError(
            f"{path}: this is a part of the run {outer}; name that folder, as in teacherlm status "
            f"{outer}"
        )
    if not files.is_folder(folder):
        there = "is a file" if files.exists(folder) else "no such folder"
        raise UserError(f"{path}: {there}; name the config.output of a command")
    raise UserError(
        f"{path}: expected a run or a folder with runs, found {_content(folder)}; name the "
        "config.output of a command, or a folder above it"
    )


def runs_below(folder: epath.Path) -> FoundRuns:
    """Return all run folders below a folder."""
    runs: list[epath.Path] = []
    refused: dict[epath.Path, str] = {}

    def refuse(inside: epath.Path, reason: str) -> None:
        refused[inside] = f"cannot be read: {reason}; give yourself access to it"

    names = (layout.CONFIG, layout.VERSIONS)
    for candidate in folder_search.folders_with(folder, names, layout.NO_RUNS_INSIDE, refuse):
        try:
            if str(candidate) != str(folder) and is_run(candidate):
                runs.append(candidate)
        except ExplainedError as error:
            refused[candidate] = str(error)
    return FoundRuns(runs, refused)


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
