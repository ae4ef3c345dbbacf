"""Parse `--config=FILE.py:variant --config.key=value …` into a checked config."""

import argparse
import contextlib
import dataclasses
import difflib
import itertools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from teacherlm_jax.cli import config_file, overrides, sweep
from teacherlm_jax.config import SweepOptions, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.verbs import VERBS

_CLASSES = tuple({kind for verb in VERBS.values() for kind in verb.config_classes})
_NO_VALUE = "expected one argument"  # message of argparse
_NO_VALUES = "expected at least one argument"  # message of argparse
_Override = tuple[str, str | None]  # a key and the text of its value


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
    arguments: Sequence[str],
    config_classes: Sequence[type],
    positional: Mapping[str, str] | None = None,
    needs_file: bool = True,
    options: Sequence[type] = (),
    load_file: Callable[[Path], types.ModuleType] = config_file.load,
) -> CommandLine:
    """Load the config that the command line names; apply the sweep point and the overrides.

    Args:
        arguments: the command line after the verb.
        config_classes: config classes that the verb accepts; without a file, the first is used.
        positional: names in the help, by key, of values that are given without a key, in order.
            A verb that has them needs no config file.
        needs_file: whether a verb without positional values needs a config file.
        options: dataclasses of options given by name only, as in `--topology=v5e:8x8`.
        load_file: function that returns the module of a config file.

    Raises:
        UserError: names the wrong file, key or option, with the nearest known one.
    """
    kinds = (SweepOptions, *options)
    assigned, words = _split(arguments)
    parsed, values = _parse(words, config_classes, kinds)
    chosen = {kind: _options(kind, parsed) for kind in kinds}
    assigned += _positional(values, positional or {})
    assigned += [(key, str(parsed[key])) for key in _short_keys(config_classes) if key in parsed]
    if alone := [kind for kind in options if getattr(chosen[kind], "without_config", False)]:
        _refuse_config(parsed["config"], assigned, chosen[SweepOptions], chosen[alone[0]])
        return CommandLine(None, (), (), chosen)
    if positional and chosen[SweepOptions].used:
        raise UserError(
            "--sweep options do not work with this command; run it once for each point, with "
            "another output"
        )
    if not parsed["config"]:
        if needs_file and not positional:
            raise UserError(
                "--config is missing; name a config file, as in --config=configs/quickstart.py"
            )
        if chosen[SweepOptions].used:
            raise UserError(
                "--sweep options need a config file with a function sweep(); name it, as in "
                "--config=mine.py"
            )
        return _single(_checked(config_classes[0](), assigned, ""), chosen)
    (specification, *others) = parsed["config"]
    if others:
        raise UserError(f"--config={others[0]}: a second --config; give only one")
    path, _, variant = specification.partition(":")
    module = load_file(Path(path))
    base = config_file.get_config(module, specification, variant, config_classes)
    if positional:
        note = f"{path}: its sweep() is not used by this command" if sweep.has_sweep(module) else ""
        return dataclasses.replace(_single(_checked(base, assigned, path), chosen), note=note)
    return _swept(module, base, assigned, chosen, path)


def load_options(arguments: Sequence[str], kind: type) -> Any:
    """Return the options, a dataclass, of a command that has no config.

    Words without a key fill the field that is declared with `fields.words`. Raises UserError.
    """
    parsed, values = _parse(arguments, (), (kind,))
    if parsed["config"]:
        raise UserError("--config: this command has no config; its --help shows its options")
    field = words_field(kind)
    if field is None and values:
        raise UserError(f"unexpected argument {values[0]!r}; --help shows the options")
    if field is not None:
        if not values:
            name = field.metadata["words"]
            raise UserError(f"expected {name} [{name} ...], got nothing")
        parsed[field.name] = tuple(values)
    return _options(kind, parsed)


def words_field(kind: type) -> dataclasses.Field[Any] | None:
    """Return the field of a class of options that takes words without a key; None without one."""
    return next((field for field in dataclasses.fields(kind) if "words" in field.metadata), None)


def _refuse_config(
    files: Sequence[str], assigned: Sequence[_Override], swept: SweepOptions, options: Any
) -> None:
    """Raise UserError for parts of a config, or a sweep, beside options that take no config."""
    given = [f"--config={name}" for name in files] + [f"--config.{key}" for key, _ in assigned]
    given += ["a --sweep option"] * swept.used
    if given:
        true = [f"--{name}" for name, value in vars(options).items() if value is True]
        raise UserError(f"{given[0]}: has no effect with {' '.join(true)}; leave it out")


def _swept(
    module: types.ModuleType,
    base: Any,
    assigned: Sequence[_Override],
    options: Mapping[type, Any],
    path: str,
) -> CommandLine:
    """Return the command line of a config file, with the sweep that it asks for."""
    requested = options[SweepOptions]
    if not requested.used and not sweep.has_sweep(module):
        return _single(_checked(base, assigned, path), options)
    with config_file.errors_in(path):
        points = sweep.points(module)
    if not requested.used:
        if not sweep.concerns(points, type(base), _CLASSES):
            note = f"{path}: its sweep() sets keys of another command and is not used"
            return dataclasses.replace(_single(_checked(base, assigned, path), options), note=note)
        raise UserError(
            f"{path}: has a sweep; run one point with --sweep_index=0, or all of them with "
            "--sweep_all (--sweep_list shows them)"
        )
    chosen = points if requested.sweep_all else ()
    if requested.sweep_index >= 0:
        chosen = (sweep.choose(points, requested.sweep_index),)
    runs = tuple(_config_of_point(base, point, assigned, path) for point in chosen)
    return CommandLine(_overridden(base, assigned), runs, points, options)


def _single(config: Any, options: Mapping[type, Any]) -> CommandLine:
    return CommandLine(config, (config,), (), options)


def _config_of_point(
    base: Any, point: sweep.SweepPoint, assigned: Sequence[_Override], path: str
) -> Any:
    """Return the checked config of one point; UserError if the command line overrides the sweep."""
    sweep.refuse_swept_keys(point, (key for key, _ in assigned))
    config = overrides.apply_values(base, point.overrides, f"{path}: sweep() at {point.name!r}")
    return sweep.config_of_point(_checked(config, assigned, path), point)


def _overridden(config: Any, assigned: Sequence[_Override]) -> Any:
    # Named settings of a group first, so that a single key of the group is set in any order.
    for key, text in sorted(
        assigned, key=lambda item: not overrides.named_settings(config, item[0])
    ):
        config = overrides.apply_text(config, key, text)
    return config


def _checked(config: Any, assigned: Sequence[_Override], path: str) -> Any:
    """Return the config with the command line's overrides; UserError if a value is invalid."""
    config = _overridden(config, assigned)
    with config_file.errors_in(path) if path else contextlib.nullcontext():
        fields.check(config)
    return config


def _split(arguments: Sequence[str]) -> tuple[list[_Override], list[str]]:
    """Separate the overrides, `--config.KEY=VALUE`, from all other arguments."""
    assigned, words = [], []
    for argument in arguments:
        override = overrides.split(argument)
        if override is None:
            words.append(argument)
        else:
            assigned.append(override)
    return assigned, words


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are UserErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError with argparse's message."""
        option, _, problem = message.removeprefix("argument ").partition(": ")
        if problem in (_NO_VALUE, _NO_VALUES):
            problem = f"no value; write {option}=VALUE"
        raise UserError(f"{option}: {problem}")


def _parse(
    words: Sequence[str], config_classes: Sequence[type], kinds: Sequence[type]
) -> tuple[dict[str, Any], list[str]]:
    """Return the options that were given, by name, and the values without a name.

    "config" is always among the options, as a list.
    """
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--config", action="append", default=[])
    named = dict.fromkeys(_short_keys(config_classes), str)
    for kind in (*config_classes, *kinds):
        hints = typing.get_type_hints(kind)
        if (field := words_field(kind)) is not None:
            del hints[field.name]
        named |= {name: hint for name, hint in hints.items() if kind in kinds or name in named}
    for name, hint in named.items():
        option = f"--{fields.option_of(name)}"
        parser.add_argument(option, dest=name, type=_value_of(hint), **_number_of_values(hint))
    parsed, rest = parser.parse_known_args(words)
    for word in rest:
        if word.startswith("-"):
            name = word.lstrip("-").partition("=")[0]
            near = difflib.get_close_matches(name, ("config", *map(fields.option_of, named)), n=1)
            advice = f"did you mean --{near[0]}?" if near else "keys look like --config.key=value"
            raise UserError(f"unknown option {word!r}; {advice}")
    values = vars(parsed)
    for name, hint in named.items():
        if name in values and typing.get_origin(hint) is tuple:
            values[name] = tuple(itertools.chain.from_iterable(values[name]))
    return values, rest


def _number_of_values(hint: Any) -> dict[str, Any]:
    """Return argparse's settings for an option of a type: tuples take several words."""
    if typing.get_origin(hint) is tuple:
        return {"nargs": "+"}
    return {"nargs": "?", "const": True} if hint is bool else {}


def _value_of(hint: Any) -> Callable[[str], Any]:
    """Return a function that reads the text of an option of this type."""

    def read(text: str) -> Any:
        if not text:
            raise argparse.ArgumentTypeError(_NO_VALUE)
        try:
            return overrides.parse(text, hint)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _short_keys(config_classes: Sequence[type]) -> list[str]:
    """Return the keys that the command line accepts by name only, as in `--data=DIR`."""
    return [
        field.name
        for kind in config_classes
        for field in dataclasses.fields(kind)
        if field.metadata.get("short")
    ]


def _options(kind: type, parsed: Mapping[str, Any]) -> Any:
    """Return the options of one class; UserError if a value is invalid."""
    names = [field.name for field in dataclasses.fields(kind)]
    options = kind(**{name: parsed[name] for name in names if name in parsed})
    for key, problem in fields.problems(options, "-"):
        name = fields.option_of(key.removeprefix("-."))
        if (words := words_field(kind)) is not None and name == words.name:
            raise UserError(f"{words.metadata['words']}: {problem}")
        raise UserError(f"--{name}: {problem.replace('--' + key, '--' + name)}")
    return options


def _positional(values: Sequence[str], names: Mapping[str, str]) -> list[_Override]:
    """Return the positional values as overrides; UserError if there are too few or too many."""
    if values and not names:
        file = values[0].partition(":")[0].endswith(".py")
        advice = (
            f"did you mean --config={values[0]}?" if file else "keys look like --config.key=value"
        )
        raise UserError(f"unexpected argument {values[0]!r}; {advice}")
    if len(values) != len(names):
        got = " ".join(map(repr, values)) or "nothing"
        raise UserError(f"expected {' '.join(names.values())}, got {got}")
    return list(zip(names, values, strict=True))
