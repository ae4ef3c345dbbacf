"""The checked config that `--config=FILE.py:variant --config.key=value …` asks for."""

import contextlib
import dataclasses
import re
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.cli import arguments, config_file, overrides, sweep
from teacherlm_jax.cli.arguments import Arguments, Override
from teacherlm_jax.config import SweepOptions, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.verbs import VERBS

_CLASSES = tuple({kind for verb in VERBS.values() for kind in verb.config_classes})


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """A parsed command line of one verb.

    Attributes:
        config: the config that the file returns, with the command line's overrides; None if the
            options ask for something that needs none.
        runs: the configs to run, checked: one, or one for each point of a sweep.
        points: points of the sweep in the config file, if the command line asks for it.
        options: instance of each options class, by class.
        note: message for the user; may be empty.
    """

    config: Any
    runs: tuple[Any, ...]
    points: tuple[sweep.SweepPoint, ...]
    options: Mapping[type, Any]
    note: str = ""


def load(
    words: Sequence[str],
    config_classes: Sequence[type],
    positional: Mapping[str, str] | None = None,
    needs_file: bool = True,
    options: Sequence[type] = (),
    load_file: Callable[[Path], types.ModuleType] = config_file.load,
) -> CommandLine:
    """Load the config that the command line names; apply the sweep point and the overrides.

    Args:
        words: the command line after the verb.
        config_classes: config classes that the verb accepts; without a file, the first is used.
        positional: names in the help, by key, of values that are given without a key, in order.
            A verb that has them needs no config file.
        needs_file: whether a verb without positional values needs a config file.
        options: dataclasses of options given by name only, as in `--topology=v5e:8x8`.
        load_file: function that returns the module of a config file.

    Raises:
        UserError: names the wrong file, key or option, with the nearest known one.
    """
    given = arguments.parse(words, config_classes, positional or {}, (SweepOptions, *options))
    if alone := [kind for kind in options if getattr(given.options[kind], "without_config", False)]:
        _refuse_config(given, given.options[alone[0]])
        return CommandLine(None, (), (), given.options)
    _refuse_sweep(given, bool(positional))
    if not given.files:
        if needs_file and not positional:
            raise _missing(given, config_classes)
        return _single(config_classes[0](), given, "")
    (specification, *others) = given.files
    if others:
        raise UserError(f"--config={others[0]}: a second --config; give only one")
    path, _, variant = specification.partition(":")
    module = load_file(Path(path))
    base = config_file.get_config(module, specification, variant, config_classes)
    if positional:
        note = f"{path}: its sweep() is not used by this command" if sweep.has_sweep(module) else ""
        return _single(base, given, path, note)
    return _swept(module, base, given, path)


def _missing(given: Arguments, config_classes: Sequence[type]) -> UserError:
    """Return the error for a command line without a config: the verb has one in its example."""
    for options in given.options.values():
        if option := getattr(options, "instead_of_config", ""):
            return UserError(
                f"--config is missing; name the config file of a run, or add {option}, which needs "
                "none"
            )
    examples = (
        verb.example for verb in VERBS.values() if {*config_classes} <= {*verb.config_classes}
    )
    (example, *_) = re.findall(r"--config=\S+", next(examples))
    return UserError(f"--config is missing; name a config file, as in {example}")


def _refuse_config(given: Arguments, options: Any) -> None:
    """Raise UserError for parts of a config, or a sweep, beside options that take no config."""
    parts = [f"--config={name}" for name in given.files]
    parts += [f"--config.{key}" for key, _ in given.assigned]
    parts += ["a --sweep option"] * given.options[SweepOptions].used
    if parts:
        true = [f"--{name}" for name, value in vars(options).items() if value is True]
        raise UserError(f"{parts[0]}: has no effect with {' '.join(true)}; leave it out")


def _refuse_sweep(given: Arguments, has_positional: bool) -> None:
    """Raise UserError for a sweep of a command that has none, or without a file."""
    if not given.options[SweepOptions].used:
        return
    if has_positional:
        raise UserError(
            "--sweep options do not work with this command; run it once for each point, with "
            "another output"
        )
    if not given.files:
        raise UserError(
            "--sweep options need a config file with a function sweep(); name it, as in "
            "--config=mine.py"
        )


def _swept(module: types.ModuleType, base: Any, given: Arguments, path: str) -> CommandLine:
    """Return the command line of a config file, with the sweep that it asks for."""
    requested = given.options[SweepOptions]
    if not requested.used and not sweep.has_sweep(module):
        return _single(base, given, path)
    with config_file.errors_in(path):
        points = sweep.points(module)
    if not requested.used:
        if not sweep.concerns(points, type(base), _CLASSES):
            note = f"{path}: its sweep() sets keys of another command and is not used"
            return _single(base, given, path, note)
        raise UserError(
            f"{path}: has a sweep; run one point with --sweep_index=0, or all of them with "
            "--sweep_all (--sweep_list shows them)"
        )
    chosen = points if requested.sweep_all else ()
    if requested.sweep_index >= 0:
        chosen = (sweep.choose(points, requested.sweep_index),)
    runs = tuple(_config_of_point(base, point, given.assigned, path) for point in chosen)
    return CommandLine(_overridden(base, given.assigned), runs, points, given.options)


def _single(base: Any, given: Arguments, path: str, note: str = "") -> CommandLine:
    config = _checked(base, given.assigned, path)
    return CommandLine(config, (config,), (), given.options, note)


def _config_of_point(
    base: Any, point: sweep.SweepPoint, assigned: Sequence[Override], path: str
) -> Any:
    """Return the checked config of one point; UserError if the command line overrides the sweep."""
    sweep.refuse_swept_keys(point, (key for key, _ in assigned))
    config = overrides.apply_values(base, point.overrides, f"{path}: sweep() at {point.name!r}")
    return sweep.config_of_point(_checked(config, assigned, path), point)


def _overridden(config: Any, assigned: Sequence[Override]) -> Any:
    # Named settings of a group first, so that a single key of the group is set in any order.
    for key, text in sorted(
        assigned, key=lambda item: not overrides.named_settings(config, item[0])
    ):
        config = overrides.apply_text(config, key, text)
    return config


def _checked(config: Any, assigned: Sequence[Override], path: str) -> Any:
    """Return the config with the command line's overrides; UserError if a value is invalid."""
    config = _overridden(config, assigned)
    with config_file.errors_in(path) if path else contextlib.nullcontext():
        fields.check(config)
    return config
