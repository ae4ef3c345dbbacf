"""Sweeps: one config file, several runs of it that differ in named settings.

A config file with a sweep has a function that yields the name of each point and what it changes:

    def sweep():
        for rate in (1e-4, 3e-4):
            yield f"rate_{rate:g}", {"optimizer.learning_rate": rate}

Each point is a run of its own in the folder of its name below the config's output.
"""

import csv
import dataclasses
import io
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config.names import NAME
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

TABLE = "sweep.csv"
_DEEP = 3  # names in a column's, as in benchmarks.mmlu.accuracy; subjects stand deeper


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a sweep: its name, and values by key, as in {"optimizer.learning_rate": 1e-4}."""

    name: str
    overrides: Mapping[str, Any]


def points(module: types.ModuleType) -> tuple[Point, ...]:
    """The points that a config file's `sweep()` yields; UserError where they cannot be used."""
    if not hasattr(module, "sweep"):
        raise UserError("has no function sweep(), which yields (name, {key: value})")
    found: list[Point] = []
    for index, item in enumerate(module.sweep()):
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Mapping)):
            raise UserError(
                f"sweep() yields {item!r} at index {index}; wanted (name, {{key: value}})"
            )
        name, overrides = item
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise UserError(
                f"sweep() names point {index} {name!r}, which cannot name a folder; use letters, "
                "digits, _, - and ."
            )
        if name in (point.name for point in found):
            raise UserError(f"sweep() names two points {name!r}; each has a folder of its own")
        found.append(Point(name, dict(overrides)))
    if not found:
        raise UserError("sweep() yields nothing")
    return tuple(found)


def chosen(found: Sequence[Point], index: int) -> Point:
    """The point of an index; UserError for one that is not there."""
    if index >= len(found):
        raise UserError(
            f"--sweep_index={index}: the sweep's points are 0 to {len(found) - 1}; "
            "--sweep_list shows them"
        )
    return found[index]


def placed(config: Any, point: Point) -> Any:
    """The config with the point's own folder as output, unless the point itself names one."""
    if "output" in point.overrides:
        return config
    return dataclasses.replace(config, output=f"{config.output}/{point.name}")


def listing(found: Sequence[Point]) -> str:
    """One line a point: index, name, and what it changes."""
    width = max(len(point.name) for point in found)
    return "\n".join(
        f"{index:>3}  {point.name:<{width}}  "
        + " ".join(f"{key}={value!r}" for key, value in point.overrides.items())
        for index, point in enumerate(found)
    )


def results(config: Any, found: Sequence[Point]) -> str:
    """A table (CSV) of all points: what each changes and, where it is finished, its figures.

    It is also written to `sweep.csv` in the output of `config`, the sweep's base.
    """
    rows = []
    for index, point in enumerate(found):
        folder = Path(point.overrides.get("output", placed(config, point).output))
        done = (folder / layout.RESULT).exists()
        result = files.read_json(folder / layout.RESULT) if done else {}
        state = "finished" if done else "begun" if folder.exists() else "not begun"
        told = {"index": index, "name": point.name, **point.overrides, "state": state}
        rows.append(told | dict(_figures(result, _DEEP)))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    Path(config.output).mkdir(parents=True, exist_ok=True)
    files.write_text(Path(config.output) / TABLE, text.getvalue())
    return text.getvalue().rstrip("\n")


def _figures(result: Mapping[str, Any], deep: int) -> Iterator[tuple[str, float]]:
    """The numbers of a result by their names, those of its parts behind the part's name."""
    for name, value in result.items():
        if isinstance(value, (int, float)):
            yield name, value
        elif isinstance(value, Mapping) and deep > 1:
            yield from ((f"{name}.{key}", item) for key, item in _figures(value, deep - 1))
