"""Run folders and what they record about themselves."""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from teacherlm_jax.config.endpoint_config import is_endpoint
from teacherlm_jax.errors import UserError
from teacherlm_jax.report import result_shapes
from teacherlm_jax.report.changed_inputs import ChangedInputs, InputComparison
from teacherlm_jax.runs import identity, layout
from teacherlm_jax.storage import files, folder_search, locations
from teacherlm_jax.storage.paths import StoragePath

# A record of the log, as `runs.run_folder` formats it.
_LOG_RECORD = re.compile(r"[\d-]+ [\d:,]+ (?P<level>[A-Z]+) (?P<message>.*)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The records of one run folder.

    Attributes:
        path: the folder.
        name: its path relative to the folder that was searched.
        verb: the verb of the run; empty if its config cannot be read.
        config: its resolved config.
        result: its result; empty while the run is unfinished.
        versions: command, commit and package versions; empty if there are none.
        problem: why the run has no result that can be shown; empty for a finished run.
        refused: whether the run stopped with an error before its work began.
        changes: a sentence for each input that has changed since the run finished, by config key.
        not_compared: a sentence for each input of which this cannot be known, by config key.
    """

    path: epath.Path
    name: str
    verb: str
    config: dict[str, Any]
    result: dict[str, Any]
    versions: dict[str, Any]
    problem: str
    refused: bool
    changes: Mapping[str, str]
    not_compared: Mapping[str, str]

    @property
    def state(self) -> str:
        """Return "finished", "unfinished" or "refused"."""
        if self.refused:
            return "refused"
        return "unfinished" if self.problem else "finished"

    @property
    def finished(self) -> bool:
        """Return whether the run has a result."""
        return not self.problem

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of `metrics.jsonl` of a training; without a line that a crash cut off."""
        path = self.path / layout.METRICS
        if not path.exists():
            return []
        return [row for _, row in files.read_jsonl(path) if isinstance(row, dict)]

    def benchmark_format(self, name: str) -> str:
        """Return the format of an evaluation's benchmark by its name; "" if it is not recorded."""
        return self.benchmark_settings(name).get("format", "")

    def benchmark_settings(self, name: str) -> Mapping[str, Any]:
        """Return the settings of an evaluation's benchmark by its name; empty if not recorded."""
        named = (one for one in self.config.get("benchmarks", ()) if one.get("name") == name)
        return next(named, {})

    def input_label(self, key: str, path: str, root: epath.PathLike) -> str:
        """Return how the input at `path` is shown, marked if it has changed since the run."""
        return f"{label(path, root)} (since changed)" if key in self.changes else label(path, root)


def find_runs(
    root: epath.PathLike, own: epath.Path | None, *, may_be_none: bool = False
) -> list[RunRecord]:
    """Return the records of all runs below `root`, sorted by path.

    Reports are not included, nor the run `own`, if any, and the runs whose folders contain it.
    Raises UserError if `root` is not a folder, or contains no run unless `may_be_none`.
    """
    root = StoragePath(root)
    if not files.is_folder(root):
        raise UserError(f"config.root={root}: no such folder; name the folder that holds the runs")
    around = (own := locations.absolute(own), *own.parents) if own else ()
    refused: list[RunRecord] = []
    folders = folder_search.folders_with(
        root,
        (layout.CONFIG,),
        layout.NO_RUNS_INSIDE,
        lambda folder, reason: refused.append(_unreadable(folder, root, reason)),
    )
    others = (folder for folder in folders if locations.absolute(folder) not in around)
    inputs = ChangedInputs()
    runs = [run for path in others if (run := _read(path, root, inputs)) and run.verb != "report"]
    runs = sorted(runs + refused, key=lambda run: run.path)
    if not runs and not may_be_none:
        raise UserError(
            f"config.root={root}: contains no run folder (a folder with {layout.CONFIG}); name the "
            "folder that holds the runs"
        )
    return runs


def _read(folder: epath.Path, root: epath.Path, inputs: ChangedInputs) -> RunRecord | None:
    """Return the record of a folder with a config.json; None if it is not that of a run."""
    verb, problem = "", ""
    config: dict[str, Any] = {}
    result: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    comparison = InputComparison()
    refused = False
    try:
        content = files.read_json(folder / layout.CONFIG)
        if result_shapes.difference(content, {"verb": str, "config": {}}):
            return None
        verb, config = content["verb"], content["config"]
        if (folder / layout.VERSIONS).exists():
            versions = _checked(folder / layout.VERSIONS, result_shapes.VERSIONS)
        if (folder / layout.RESULT).exists():
            result = _checked(folder / layout.RESULT, result_shapes.RESULTS.get(verb, {}))
            for name in (layout.INPUTS, layout.SUMMARY):
                if (folder / name).exists():
                    _checked(folder / name, {})
            comparison = inputs.compare(folder, config, result)
        else:
            refused, problem = _why_unfinished(folder)
    except UserError as error:
        result, problem = {}, str(error)
    return RunRecord(
        path=folder,
        name=_name(folder, root),
        verb=verb,
        config=config,
        result=result,
        versions=versions,
        problem=problem,
        refused=refused,
        changes=comparison.changed,
        not_compared=comparison.not_compared,
    )


def _unreadable(folder: epath.Path, root: epath.Path, reason: str) -> RunRecord:
    """Return the record of a folder that cannot be read, which may contain runs."""
    return RunRecord(
        path=folder,
        name=_name(folder, root),
        verb="",
        config={},
        result={},
        versions={},
        problem=f"{folder}: cannot be read: {reason}; give yourself access to it",
        refused=False,
        changes={},
        not_compared={},
    )


def _name(folder: epath.Path, root: epath.Path) -> str:
    return str(folder.relative_to(root)) if folder != root else folder.name


def _checked(path: epath.Path, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a run's JSON file; raise UserError if it lacks what the page shows."""
    content = files.read_json(path)
    if difference := result_shapes.difference(content, shape):
        raise UserError(f"{path}: {difference}; remove this file and repeat the command of the run")
    return content


def _why_unfinished(folder: epath.Path) -> tuple[bool, str]:
    """Return whether an unfinished run was refused before its work began, and its last log line."""
    log = folder / layout.LOG
    text = log.read_bytes().decode("utf-8", "replace") if log.exists() else ""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        return False, "it has written no log"
    last = [record for record in map(_LOG_RECORD.match, lines) if record][-1:]
    if last and last[0]["level"] == "ERROR" and not identity.work_began(folder):
        return True, last[0]["message"].removeprefix("UserError: ")
    return False, f"the last line of its log: {lines[-1]}"


def label(path: str, root: epath.PathLike) -> str:
    """Return how a path of a config is shown: relative to `root` if it is inside it."""
    if not path or is_endpoint(path):
        return path
    relative = os.path.relpath(path, root)
    return path if relative.startswith("..") else relative
