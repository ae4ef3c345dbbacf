"""Run folders and what they say about themselves."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.report import result_shapes
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

_NO_RUNS_INSIDE = (
    *(layout.CHECKPOINTS, layout.TENSORBOARD, layout.TEXTS, layout.SAMPLES, layout.VOCABULARY),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run folder.

    Attributes:
        path: the folder.
        name: its path below the folder that was searched.
        verb: what the run does; empty when its config cannot be read.
        config: its resolved config.
        result: what it finished with; empty while it is unfinished.
        versions: command, commit and package versions; empty when there are none.
        trouble: why it counts as unfinished, which it also does when its result cannot be read or
            has another shape; empty when it does not.
    """

    path: Path
    name: str
    verb: str
    config: dict[str, Any]
    result: dict[str, Any]
    versions: dict[str, Any]
    trouble: str

    @property
    def finished(self) -> bool:
        """Whether it came to its result."""
        return not self.trouble

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Lines of a training's `metrics.jsonl`; a line that a crash cut is left out."""
        path = self.path / layout.METRICS
        if not path.exists():
            return []
        return [row for _, row in files.read_jsonl(path) if isinstance(row, dict)]


def find_runs(root: Path | str, own: Path) -> list[RunRecord]:
    """All run folders below `root` in the order of their names, finished or not.

    Left out are the report's own folder, other reports, and runs that are going on around this
    one, which are those whose folders hold `own`. Raises UserError when `root` is no folder or has
    no run.
    """
    root, own = Path(root), own.absolute()
    if not root.is_dir():
        raise UserError(f"config.root: {root}: no such folder; name the one that holds the runs")
    around = (own, *own.parents)
    paths = (path for path in _config_files(root) if path.parent.absolute() not in around)
    runs = [run for path in paths if (run := _read(path, root)) and run.verb != "report"]
    if not runs:
        raise UserError(f"config.root: {root}: no run folder below it (a folder with config.json)")
    return runs


def _config_files(root: Path) -> Iterator[Path]:
    for folder, inside, names in os.walk(root):
        inside[:] = sorted(n for n in inside if n not in _NO_RUNS_INSIDE and n[0] != ".")
        if layout.CONFIG in names:
            yield Path(folder, layout.CONFIG)


def _read(path: Path, root: Path) -> RunRecord | None:
    """The run of one config.json; None when that file describes something else than a run."""
    verb, trouble = "", ""
    config: dict[str, Any] = {}
    result: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    try:
        written = files.read_json(path)
        if result_shapes.difference(written, {"verb": str, "config": {}}):
            return None
        verb, config = written["verb"], written["config"]
        if (path.parent / layout.VERSIONS).exists():
            versions = _shaped(path.parent / layout.VERSIONS, result_shapes.VERSIONS)
        if (path.parent / layout.RESULT).exists():
            result = _shaped(path.parent / layout.RESULT, result_shapes.RESULTS.get(verb, {}))
        else:
            trouble = _last_words(path.parent)
    except UserError as error:
        result, trouble = {}, str(error)
    folder = path.parent
    return RunRecord(
        path=folder,
        name=str(folder.relative_to(root)) if folder != root else folder.name,
        verb=verb,
        config=config,
        result=result,
        versions=versions,
        trouble=trouble,
    )


def _shaped(path: Path, shape: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON file of a run; raises UserError when the page could not be made of it."""
    found = files.read_json(path)
    if difference := result_shapes.difference(found, shape):
        raise UserError(f"{path}: {difference}; remove the run folder, or run its command again")
    return found


def _last_words(folder: Path) -> str:
    """The last line of an unfinished run's log."""
    log = folder / layout.LOG
    lines = log.read_text("utf-8", "replace").split("\n") if log.exists() else []
    said = [line for line in lines if line.strip()]
    return f"its log ends with: {said[-1].strip()}" if said else "it has written no log"


def label(path: str, root: Path | str) -> str:
    """How a run folder that a config names is shown: below `root` by its relative path."""
    if not path:
        return ""
    relative = os.path.relpath(path, root)
    return path if relative.startswith("..") else relative
