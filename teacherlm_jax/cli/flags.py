"""From `--config=FILE.py:variant --config.key=value …` to a checked config, or a clear refusal."""

import copy
import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from teacherlm_jax.cli import config_file, sweep
from teacherlm_jax.config import SweepOptions, fields
from teacherlm_jax.errors import UserError

_OVERRIDE = re.compile(r"--?(?P<no>no)?config\.(?P<key>[^=]+)(=(?P<value>.*))?$", re.DOTALL)
_NOT_UNDERSTOOD = "not understood; overrides look like --config.key=value"


@dataclasses.dataclass(frozen=True)
class Request:
    """What a command line asks for.

    Attributes:
        config: what the verb takes; every field has the right type and a possible value. Of a
            sweep, the base that its points vary, where none of them is chosen.
        points: of the sweep in the config file, if the command line asks for one.
        options: what stands beside the config, by class.
    """

    config: Any
    points: tuple[sweep.Point, ...]
    options: Mapping[type, Any]


def load(
    arguments: Sequence[str],
    config_classes: Sequence[type],
    positional: Mapping[str, str] | None = None,
    needs_file: bool = True,
    options: Sequence[type] = (),
) -> Request:
    """Reads the config that the command line names; applies its sweep's point and its overrides.

    Args:
        arguments: what follows the verb on the command line.
        config_classes: dataclasses of which the verb takes one.
        positional: of a verb that takes values without a name: the keys that they set, in order,
            with what the help calls each. Such a verb needs no config file.
        needs_file: whether a verb without such values needs one.
        options: dataclasses whose fields are given by their names alone, as in
            `--topology=v5e:8x8`.

    Raises:
        UserError: naming the file or key that is wrong, with the nearest known key.
    """
    kinds = (SweepOptions, *options)
    short = _short(config_classes, kinds)
    specification, given, values = _split(_in_full(arguments, short), ("config", *short))
    path, _, variant = specification.partition(":")
    blamed = path or "the command line"
    chosen = {kind: _options(kind, given) for kind in kinds}
    points: tuple[sweep.Point, ...] = ()
    if specification:
        module = config_file.load(Path(path))
        config = config_file.made(module, specification, variant, config_classes)
        if chosen[SweepOptions].asked:
            with config_file.blaming(path):
                points = sweep.points(module)
    else:
        config = config_classes[0]()
    if positional:
        _set_positional(config, positional, values)
    elif values:
        raise UserError(f"{values[0]!r}: {_NOT_UNDERSTOOD}")
    elif not specification and needs_file:
        raise UserError(
            "--config is missing; name a config file, as in --config=configs/quickstart.py"
        )
    config = _settled(config, points, chosen[SweepOptions], given, blamed)
    return Request(config, points, chosen)


def _settled(
    config: Any, points: Sequence[sweep.Point], asked: SweepOptions, given: Sequence[str], path: str
) -> Any:
    """The config with what a point of its sweep, then the command line, say otherwise; checked."""
    point = sweep.chosen(points, asked.sweep_index) if asked.sweep_index >= 0 else None
    if point:
        for key, value in point.overrides.items():
            _require_known_key(f"{path}: sweep() at {point.name!r}", config, key)
            config = _with(config, key, value)
    overrides = [argument for argument in given if _OVERRIDE.match(argument)]
    for override in overrides:
        _require_known_key(path, config, _key(override))
    config = _override(config, overrides)
    with config_file.blaming(path):
        fields.check(config)
    return sweep.placed(config, point) if point else config


def describe(config_class: type) -> str:
    """One line a key: its name and default, for `teacherlm VERB --help`."""
    return "\n".join(f"  --{key}={value!r}" for key, value in _described(config_class(), "config"))


def describe_options(kind: type) -> str:
    """One line an option: its name and default, for `teacherlm VERB --help`."""
    return "\n".join(f"  --{key}={value!r}" for key, value in dataclasses.asdict(kind()).items())


def _described(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every key with its default; the items of a tuple of dataclasses stand for all, as [N]."""
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        name, item = f"{key}.{field.name}", getattr(value, field.name)
        inside: Any = next(iter(typing.get_args(hints[field.name])), None)
        if dataclasses.is_dataclass(item):
            yield from _described(item, name)
        elif isinstance(inside, type) and dataclasses.is_dataclass(inside):
            yield from _described(inside(), f"{name}[N]")
        else:
            yield name, item


_Short = Mapping[str, tuple[str, dataclasses.Field[Any]]]


def _short(config_classes: Sequence[type], options: Sequence[type]) -> _Short:
    """What may be given by its name alone: keys with `short` in their metadata, and options."""
    short = {
        field.name: ("config", field)
        for kind in config_classes
        for field in dataclasses.fields(kind)
        if field.metadata.get("short")
    }
    return short | {
        field.name: ("options", field) for kind in options for field in dataclasses.fields(kind)
    }


def _in_full(arguments: Sequence[str], short: _Short) -> Iterator[str]:
    """What is given by its name alone, as the key that it is short for.

    `--data DIR` and `--data=DIR` become `--config.data=DIR`, and `--flag` becomes `--config.flag`.
    Options become `--options.topology=…`.
    """
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        found = short.get(name.removeprefix("--")) if name.startswith("--") else None
        if found is None:
            yield argument
        elif found[1].type is bool:
            yield f"--{found[0]}.{argument.removeprefix('--')}"
        else:
            value = value if equals else next(rest, "")
            if not value or (not equals and value.startswith("--")):
                raise UserError(f"{name}: no value behind it; give one, as in {name}=VALUE")
            yield f"--{found[0]}.{name.removeprefix('--')}={value}"


def _split(arguments: Iterable[str], names: Iterable[str]) -> tuple[str, list[str], list[str]]:
    """Parts the arguments into the config file's name, keys that are set, and nameless values.

    `names` are those that may be given by themselves, to tell the nearest of a wrong one.
    """
    specification = ""
    given: list[str] = []
    values: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in ("--config", "-config") or argument.startswith(("--config=", "-config=")):
            if specification:
                raise UserError(f"{argument}: a second --config; give one")
            specification = argument.partition("=")[2] or next(rest, "")
        elif _OVERRIDE.match(argument) or argument.startswith("--options."):
            given.append(argument)
        elif argument.startswith("-"):
            near = difflib.get_close_matches(argument.lstrip("-").partition("=")[0], names, n=1)
            hint = f"; did you mean --{near[0]}?" if near else ""
            raise UserError(f"{argument!r}: {_NOT_UNDERSTOOD}{hint}")
        else:
            values.append(argument)
    return specification, given, values


def _options(kind: type, given: Iterable[str]) -> Any:
    """The options of one class, from those that the command line gives."""
    names = {field.name for field in dataclasses.fields(kind)}
    ours = [
        f"--config.{argument.removeprefix('--options.')}"
        for argument in given
        if argument.startswith("--options.")
        and argument.removeprefix("--options.").partition("=")[0] in names
    ]
    try:
        options = _override(kind(), ours)
        fields.check(options, "options")
    except UserError as error:
        raise UserError(re.sub(r"(--)?\b(config|options)\.", "--", str(error))) from None
    return options


def _set_positional(config: Any, positional: Mapping[str, str], values: Sequence[str]) -> None:
    if len(values) != len(positional):
        found = " ".join(map(repr, values)) or "nothing"
        raise UserError(f"wanted {' '.join(positional.values())}, found {found}; give just these")
    for key, value in zip(positional, values, strict=True):
        setattr(config, key, value)


def _key(override: str) -> str:
    match = _OVERRIDE.match(override)
    if match is None:
        raise UserError(f"{override!r}: {_NOT_UNDERSTOOD}")
    return match["key"]


def _require_known_key(path: str, config: Any, key: str) -> None:
    known = [name.removeprefix("config.") for name, _ in _leaves(config, "config")]
    if key in known:
        return
    inside = [name for name in known if name.startswith((f"{key}.", f"{key}["))]
    if inside:
        raise UserError(f"{path}: {key} is a group of keys; set one of them, such as {inside[0]}")
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"{path}: unknown key {key}{hint}")


def _override(config: Any, overrides: list[str]) -> Any:
    kinds = {name: type(value).__name__ for name, value in _leaves(config, "config")}
    for override in overrides:
        if kinds.get(override.lstrip("-"), "bool") != "bool":  # it would take the next for its own
            raise UserError(f"{override}: no value behind it; give one, as in {override}=VALUE")
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dataclass(
            "config", copy.deepcopy(config), flag_values=values, sys_argv=overrides
        )
        values(["teacherlm", *overrides])
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(_illegal(str(error), kinds, overrides)) from None
    return values.config


def _illegal(said: str, kinds: Mapping[str, str], overrides: Iterable[str]) -> str:
    """What is wrong with an override, where the library says that one is."""
    for override in overrides:
        name, equals, value = override.lstrip("-").partition("=")
        if equals and name in kinds and said.startswith(f"flag --{name}={value}: "):
            return f"{name}: {value!r} is no {kinds[name]}"
    return said.replace("flag --", "--")


def _with(config: Any, key: str, value: Any) -> Any:
    """A copy of the config with the value at a known key, as in "sources[0].limit"."""
    config = copy.deepcopy(config)
    *way, last = re.findall(r"[^.\[\]]+|\[\d+\]", key)
    place = config
    for step in way:
        place = place[int(step[1:-1])] if step.startswith("[") else getattr(place, step)
    setattr(place, last, value)
    return config


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) for everything that an override can set."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _leaves(getattr(value, field.name), f"{key}.{field.name}")
    elif isinstance(value, (tuple, list)) and value and dataclasses.is_dataclass(value[0]):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{key}[{index}]")
    else:
        yield key, value
