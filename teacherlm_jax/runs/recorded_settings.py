"""Settings and versions of a run, as its folder records them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.config.fields import path_keys
from teacherlm_jax.runs import identity, layout
from teacherlm_jax.runs.versions import versions
from teacherlm_jax.storage import files

# Keys of `prepare` that may still change when only its vocabulary has been trained.
_AFTER_VOCABULARY = ("mixtures", "length")

ExtendedKeys = Callable[[Mapping[str, Any], Any], tuple[str, ...]]


def compare(
    path: epath.Path,
    verb: str,
    config: Any,
    may_change: tuple[str, ...],
    extended_keys: ExtendedKeys,
    *,
    begun: bool,
) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """Return the settings that changed since the run was started, and whether they extend it.

    Nothing is compared until the work of the run has begun, unless `begun` says that it has. Raises
    UserError for the first changed setting that may not change.
    """
    before = identity.started_with(path)
    if before is None and begun:
        before = files.read_json(path / layout.CONFIG)
    if before is None:
        return {}, False
    if before["verb"] == verb:  # keys that were added since have their defaults
        before = before | {"config": _completed(before["config"], type(config))}
    changes = identity.changed_settings(before, _resolved(verb, config), path_keys(config))
    extending = extended_keys(before["config"], config) if before["verb"] == verb else ()
    if verb == "prepare" and identity.work_entries(path) == {layout.VOCABULARY}:
        may_change = (*may_change, *_AFTER_VOCABULARY)
    identity.refuse_other_settings(path, changes, (*may_change, *extending))
    return changes, bool(extending)


def record(path: epath.Path, verb: str, config: Any) -> None:
    """Write the settings and the versions of a run; versions of earlier starts are kept."""
    recorded = path / layout.VERSIONS
    last = files.read_json(recorded) if files.exists(recorded) else {}
    before = [*last.pop("before", []), last] if last else []
    files.write_json(path / layout.CONFIG, _resolved(verb, config))
    files.write_json(recorded, versions() | ({"before": before} if before else {}))


def _completed(before: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Return recorded settings with the defaults of the fields of a dataclass that they lack."""
    completed = dict(before)
    for field in dataclasses.fields(kind):
        made = field.default_factory
        default: Any = field.default if made is dataclasses.MISSING else made()
        is_group = dataclasses.is_dataclass(default)
        if field.name not in before and default is not dataclasses.MISSING:
            completed[field.name] = dataclasses.asdict(default) if is_group else default
        elif is_group and isinstance(before.get(field.name), dict):
            completed[field.name] = _completed(before[field.name], type(default))
    return completed


def _resolved(verb: str, config: Any) -> dict[str, Any]:
    return {"verb": verb, "config": dataclasses.asdict(config)}
