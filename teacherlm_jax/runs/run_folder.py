"""Opening run folders, which record each verb's config (with seeds), versions, commit, log, result.

When several processes work together, the first one writes all files but the others' logs, and
holds the lock; the others learn from it what the folder contains. A command that is refused before
its work begins leaves no run folder behind.

A run folder may be in a bucket (`gs://`). Its files then grow in a folder on this machine, and are
published before every checkpoint, every 30 seconds and at the end; see `storage.mirror`. A folder
that several processes share is locked only where one of them must be alone; see `open_run`.
"""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config import paper_models
from teacherlm_jax.config.fields import path_keys
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import (
    console,
    distributed,
    identity,
    layout,
    recorded_settings,
    run_log,
    run_place,
)
from teacherlm_jax.runs.leftovers import Leftovers
from teacherlm_jax.runs.recorded_settings import ExtendedKeys
from teacherlm_jax.runs.run import FollowedRun, Run
from teacherlm_jax.runs.run_place import RunPlace
from teacherlm_jax.runs.workers import Workers
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.locations import is_remote


def no_extension(before: Mapping[str, Any], config: Any) -> tuple[str, ...]:
    """Return no keys: the runs of a verb are not extended by other settings."""
    return ()


def require_same_settings(
    output: str, verb: str, config: Any, *, may_change: tuple[str, ...] = ()
) -> None:
    """Raise UserError where `open_run` would because of the folder's settings; write nothing."""
    address = run_place.check_address(output)
    if is_remote(address):
        objects.refuse_missing_bucket(address)
    others = Workers(address / layout.WORKERS, console.say).others()
    recorded_settings.compare(address, verb, config, may_change, no_extension, begun=bool(others))


def open_run(
    output: str,
    verb: str,
    config: Any,
    *,
    may_change: tuple[str, ...] = (),
    extended_keys: ExtendedKeys = no_extension,
    shared: bool = False,
) -> Run:
    """Create or re-open the run folder `output` for `verb` with `config` (a dataclass).

    A folder in which work has begun keeps its settings: opening it with others raises UserError
    that names the first key that differs. Not compared are keys that hold paths, since a run is
    identified by the digests of its inputs (`Run.check_inputs`), and keys below those named in
    `may_change`, which do not change the result.

    `extended_keys` returns the keys by which `config` extends a run that was started with another
    config; call `Run.begin_extension` if `Run.extends` is set.

    A `shared` folder is not locked: other processes with the same settings may join the run. Use
    `Run.alone` where only one of them may work.
    """
    address = run_place.check_address(output)
    opened: list[Run] = []

    def open_here() -> tuple[dict[str, Any] | None, bool]:
        if shared:
            opened.append(_joined(output, verb, config, may_change))
        else:
            opened.append(_opened(output, verb, config, may_change, extended_keys))
        return opened[0].result, opened[0].extends

    result, extends = distributed.of_first(open_here)
    blind = distributed.without(lambda: (address / layout.CONFIG).exists())
    if blind:
        for run in opened:
            run.close(refused=True)
        numbers = ", ".join(map(str, blind))
        raise UserError(
            f"{output}: processes {numbers} do not see this folder; put config.output in a bucket "
            "or on a disk that all hosts share, under the same absolute path"
        )
    if opened:
        return opened[0]
    place = run_place.follow_place(output, distributed.process_index())
    return FollowedRun(place, result, extends)


def _opened(
    output: str,
    verb: str,
    config: Any,
    may_change: tuple[str, ...],
    extended_keys: ExtendedKeys,
) -> Run:
    """Lock the folder, and compare its settings if work has begun in it."""
    leftovers = Leftovers(Path(output)) if not is_remote(output) else None
    place = run_place.open_place(output)
    if leftovers is None:
        leftovers = Leftovers(place.path)
    with contextlib.ExitStack() as closing, place.translating():
        closing.callback(place.close)
        run = _compared(place, leftovers, verb, config, may_change, extended_keys)
        run.publish()
        closing.pop_all()
    return run


def _joined(output: str, verb: str, config: Any, may_change: tuple[str, ...]) -> Run:
    """Open a folder that several processes share, next to those that are at work in it."""
    leftovers = Leftovers(output)
    place = run_place.open_shared_place(output)
    with contextlib.ExitStack() as closing:
        closing.callback(place.close)
        with place.alone():
            others = place.workers.others()
            leftovers.log = layout.log_of(place.workers.own if others else "")
            place.share(leftovers.log)
            leftovers.copy = place.path if is_remote(place.address) else None
            run = _compared(place, leftovers, verb, config, may_change, no_extension, others)
            place.workers.join()
        run.publish()
        closing.pop_all()
    return run


def _compared(
    place: RunPlace,
    leftovers: Leftovers,
    verb: str,
    config: Any,
    may_change: tuple[str, ...],
    extended_keys: ExtendedKeys,
    others: Sequence[str] = (),
) -> Run:
    """Compare the settings with those that the run was started with; record them if it is new.

    `others` are processes that are at work in the folder, whose settings count from the beginning.
    """
    path, keys = place.home, path_keys(config)
    changes, extends = recorded_settings.compare(
        path, verb, config, may_change, extended_keys, begun=bool(others)
    )
    settings = identity.flatten(dataclasses.asdict(config))
    log = run_log.open_log(place, leftovers.log, logging.INFO)
    record = functools.partial(recorded_settings.record, path, verb, config)
    run = Run(place, log, {key: settings[key] for key in keys}, leftovers, record)
    run.changes = tuple(f"{key}={now!r} (was {old!r})" for key, (old, now) in changes.items())
    run.extends = extends
    if others:
        count = f"{len(others)} other worker{'s are' if len(others) > 1 else ' is'}"
        log.info("%s: %s at work in this folder", place.address, count)
    elif changes.keys() == {f"config.{paper_models.KEY}"}:
        log.info("%s: recorded %s", place.address, *run.changes)
        record()
        run.changes = ()
    elif run.result is None and not run.extends:  # a finished run keeps the record
        record()
    return run
