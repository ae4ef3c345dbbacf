"""Description of a run for a tracking service: names, settings, and what the service has of it."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teacherlm_jax import __version__
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files

PROJECT = "teacherlm"  # if the config names none
NEVER = -1  # newest step of a run at a service that has none of its steps

_OWN = ("track", "tracking")  # keys of a config that are not settings of the run

Scalar = str | int | float | bool


@dataclasses.dataclass
class TrackedRun:
    """Description of a run for one tracking service.

    Attributes:
        verb: "train" or "evaluate".
        project: its project; never empty.
        name: its name.
        group: group of runs that it belongs to, such as a sweep; may be empty.
        tags: its tags.
        settings: its config as nested dicts, with `run_folder`, `verb`, `version` and `commit`.
        path: the run folder on this machine, for files of the service.
        id: identifier of the run at this service; empty for a new run. A value that is set here is
            kept in the run folder, and given again when the run is resumed.
        step: newest step that the service got from earlier processes of this run; -1 if none.
    """

    verb: str
    project: str
    name: str
    group: str
    tags: tuple[str, ...]
    settings: dict[str, Any]
    path: Path
    id: str = ""
    step: int = NEVER

    @property
    def config(self) -> dict[str, Scalar]:
        """The settings as one dict with keys such as "optimizer.learning_rate"."""
        return flat(self.settings)


def describe(verb: str, config: Any, run: Run) -> TrackedRun:
    """Return the description of a run with a config that has `tracking`.

    Names that are empty in the config come from the environment variables of W&B.
    """
    names = config.tracking
    recorded = run.path / layout.VERSIONS
    versions = files.read_json(recorded) if files.exists(recorded) else {}
    settings = {
        **nested_settings(config),
        "verb": verb,
        "run_folder": str(run.address),
        "version": __version__,
        "commit": versions.get("commit", ""),
    }
    tags = [tag.strip() for tag in os.environ.get("WANDB_TAGS", "").split(",")]
    return TrackedRun(
        verb=verb,
        project=names.project or os.environ.get("WANDB_PROJECT") or PROJECT,
        name=names.name or os.environ.get("WANDB_NAME") or run.address.name,
        group=names.group or os.environ.get("WANDB_RUN_GROUP") or "",
        tags=names.tags or tuple(filter(None, tags)),
        settings=settings,
        path=run.path,
    )


def nested_settings(config: Any) -> dict[str, Any]:
    """Return a config as nested dicts of plain values.

    Items of a tuple are named by their `name`, or by their number, and have only the keys that
    differ from the defaults of their class.
    """
    return {
        field.name: _plain(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.name not in _OWN
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {name: _plain(item) for name, item in vars(value).items()}
    if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        return {
            str(getattr(item, "name", "") or number): _differing(item)
            for number, item in enumerate(value)
        }
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def _differing(item: Any) -> dict[str, Any]:
    """Return the values of a dataclass that differ from the defaults."""
    defaults = vars(type(item)())
    return {name: _plain(value) for name, value in vars(item).items() if value != defaults[name]}


def flat(nested: Mapping[str, Any], depth: int = 99) -> dict[str, Scalar]:
    """Return the numbers, texts and bools of nested dicts, down to a depth, by dotted key."""
    values: dict[str, Scalar] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            if depth > 1:
                values |= {f"{key}.{part}": v for part, v in flat(value, depth - 1).items()}
        elif isinstance(value, (str, int, float, bool)):
            values[str(key)] = value
    return values
