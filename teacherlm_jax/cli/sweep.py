"""Sweeps: one config file, several runs that differ in some settings.

A config file with a sweep has a function that yields the name of each point and what it changes:

    def sweep():
        for rate in (1e-4, 3e-4):
            yield f"rate_{rate:g}", {"optimizer.learning_rate": rate}

Each point is a run of its own, in the folder of its name inside the config's output.
"""

import csv
import dataclasses
import io
import itertools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.checkpoints import selection
from teacherlm_jax.cli import overrides
from teacherlm_jax.config.names import NAME
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import console, distributed, identity, layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

TABLE = "sweep.csv"
_numbers = itertools.count()  # of the sweeps that this process has run
_DEPTH = 3  # levels of a result in the table, as in benchmarks.mmlu.accuracy


@dataclasses.dataclass(frozen=True)
class SweepPoint:
    """One run of a sweep.

    Attributes:
        name: name of its folder.
        overrides: values by key, as in {"optimizer.learning_rate": 1e-4}.
    """

    name: str
    overrides: Mapping[str, Any]


def has_sweep(module: types.ModuleType) -> bool:
    """Return whether a config file defines a sweep."""
    return hasattr(module, "sweep")


def points(module: types.ModuleType) -> tuple[SweepPoint, ...]:
    """Return the points that a config file's `sweep()` yields; UserError if one is invalid."""
    if not has_sweep(module):
        raise UserError("has no function sweep(); add one that yields (name, {key: value})")
    sweep_points: list[SweepPoint] = []
    for index, item in enumerate(module.sweep()):
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Mapping)):
            raise UserError(
                f"sweep() yields {item!r} at index {index}; expected (name, {{key: value}})"
            )
        name, overrides = item
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise UserError(
                f"sweep() names point {index} {name!r}, which cannot name a folder; use letters, "
                "digits, _, - and ."
            )
        if name in (point.name for point in sweep_points):
            raise UserError(
                f"sweep() names two points {name!r}; give each a name of its own, "
                "which is that of its folder"
            )
        sweep_points.append(SweepPoint(name, dict(overrides)))
    if not sweep_points:
        raise UserError("sweep() yields nothing; expected at least one (name, {key: value})")
    return tuple(sweep_points)


def concerns(sweep_points: Sequence[SweepPoint], kind: type, others: Iterable[type]) -> bool:
    """Return whether a sweep is meant for configs of class `kind`.

    It is not if `kind` lacks a key that the sweep sets, and one of the `others` has all its keys. A
    key that no class has is a mistake, which the sweep's first use refuses.
    """
    keys = {key for point in sweep_points for key in point.overrides}

    def has_all(candidate: type) -> bool:
        return all(overrides.has_key(candidate, key) for key in keys)

    return has_all(kind) or not any(map(has_all, others))


def choose(sweep_points: Sequence[SweepPoint], index: int) -> SweepPoint:
    """Return the point of an index, from 0; UserError if there is none."""
    if index >= len(sweep_points):
        raise UserError(
            f"--sweep_index={index}: the sweep has the points 0 to {len(sweep_points) - 1}; "
            "--sweep_list shows them"
        )
    return sweep_points[index]


def refuse_swept_keys(point: SweepPoint, keys: Iterable[str]) -> None:
    """Raise UserError if the command line sets a key that the sweep sets.

    Otherwise, the run would be saved under the name of a point whose settings it does not have.
    """
    for key in keys:
        if any(swept == key or swept.startswith(f"{key}.") for swept in point.overrides):
            raise UserError(
                f"--config.{key}: sweep() sets this key at {point.name!r}; change sweep(), or run "
                "a config without a sweep"
            )


def config_of_point(config: Any, point: SweepPoint) -> Any:
    """Return the config with the point's own folder as output, unless the point sets one.

    Its group for tracking, unless the config has one, is the name of the folder that it is in.
    """
    if "output" not in point.overrides:
        config = dataclasses.replace(config, output=f"{config.output}/{point.name}")
    if hasattr(config, "tracking") and not config.tracking.group:
        group = StoragePath(config.output).parent.name
        config = dataclasses.replace(
            config, tracking=dataclasses.replace(config.tracking, group=group)
        )
    return config


def run_all(
    sweep_points: Sequence[SweepPoint],
    work: Sequence[Callable[[], object]],
    message: Callable[[BaseException], str],
) -> None:
    """Run all points, even if some fail; a UserError at the end names those.

    With several processes, the sweep ends at a point that fails in only some of them.

    Args:
        sweep_points: the points.
        work: function that runs each point.
        message: function that returns the message for an error.

    Raises:
        UserError: points failed.
        Interrupted: a signal asked the run to stop, which ends the sweep.
    """
    failed: dict[str, list[str]] = {}  # names of points by message
    number = next(_numbers)  # the same in all processes
    for point, run in zip(sweep_points, work, strict=True):
        try:
            run()
        except Interrupted:
            raise
        except (Exception, distributed.RefusedByFirst) as error:
            if not distributed.all_failed(f"{number}/{point.name}"):
                raise
            reason = message(error) if distributed.is_first() else ""
            failed.setdefault(reason, []).append(point.name)
            if distributed.is_first():
                console.say(f"point {point.name} failed: {reason}")
    if failed:
        if not distributed.is_first():
            raise distributed.RefusedByFirst
        count = sum(map(len, failed.values()))
        reasons = " | ".join(f"{', '.join(names)}: {reason}" for reason, names in failed.items())
        raise UserError(f"{count} of {len(work)} points of the sweep failed: {reasons}")


def listing(sweep_points: Sequence[SweepPoint]) -> str:
    """Return one line per point: index, name, and what it changes."""
    width = max(len(point.name) for point in sweep_points)
    return "\n".join(
        f"{index:>3}  {point.name:<{width}}  "
        + " ".join(f"{key}={value!r}" for key, value in point.overrides.items())
        for index, point in enumerate(sweep_points)
    )


def results(config: Any, sweep_points: Sequence[SweepPoint]) -> str:
    """Return a table (CSV) of all points: the swept settings and, if finished, the results.

    Finished trainings with a `validation.metric` are ranked by its best value; 1 is the best.
    Settings are those that a run was started with, read from its own `config.json`; for a point
    that has not run, those of the sweep. The table is also written to `sweep.csv` in the output of
    `config`, the sweep's base.
    """
    rows = []
    for index, point in enumerate(sweep_points):
        folder = StoragePath(point.overrides.get("output", config_of_point(config, point).output))
        result = files.read_json_if_any(folder / layout.RESULT)
        state = (
            "finished" if result is not None else "started" if folder.exists() else "not started"
        )
        row = {"index": index, "name": point.name, **_settings(folder, point), "state": state}
        rows.append(row | _metric(folder, result or {}) | dict(_figures(result or {}, _DEPTH)))
    _rank(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(StoragePath(config.output) / TABLE, text.getvalue())
    return text.getvalue().rstrip("\n")


def _settings(folder: epath.Path, point: SweepPoint) -> dict[str, Any]:
    """Return the values of the swept keys that the run in `folder` was started with."""
    if not (folder / layout.CONFIG).exists():
        return dict(point.overrides)
    started = identity.flatten(files.read_json(folder / layout.CONFIG)["config"])
    return {key: started.get(key, value) for key, value in point.overrides.items()}


def _metric(folder: epath.Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the name of the metric that a result has a best value of; empty if it has none."""
    if "best_metric" not in result:
        return {}
    started = files.read_json(folder / layout.CONFIG)["config"]
    return {"metric": started["validation"]["metric"], "rank": None}


def _rank(rows: Sequence[dict[str, Any]]) -> None:
    """Set the rank of each row with a `best_metric` among the rows with the same metric."""
    for metric in {row["metric"] for row in rows if "metric" in row}:
        group = [row for row in rows if row.get("metric") == metric]
        values = [{"step": row["index"], metric: row["best_metric"]} for row in group]
        order = selection.ranking(values, metric)
        for row in group:
            row["rank"] = order.index(row["index"]) + 1


def _figures(result: Mapping[str, Any], depth: int) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a result by dotted name, down to a depth."""
    for name, value in result.items():
        if isinstance(value, (int, float)):
            yield name, value
        elif isinstance(value, Mapping) and depth > 1:
            yield from ((f"{name}.{key}", item) for key, item in _figures(value, depth - 1))
