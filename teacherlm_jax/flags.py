"""From `--config=FILE.py:variant --config.key=value …` to a checked config, or a clear refusal."""

import contextlib
import copy
import dataclasses
import difflib
import importlib.util
import os
import re
import traceback
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from teacherlm_jax import fields, sweep
from teacherlm_jax.config import SweepOptions
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
    specification, given, values = _split(_in_full(arguments, config_classes, kinds))
    path, _, variant = specification.partition(":")
    blamed = path or "the command line"
    chosen = {kind: _options(kind, given) for kind in kinds}
    points: tuple[sweep.Point, ...] = ()
    if specification:
        module = _import(Path(path))
        config = _made(module, specification, variant, config_classes)
        if chosen[SweepOptions].asked:
            with _blaming(path):
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
    with _blaming(path):
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


def _in_full(
    arguments: Sequence[str], config_classes: Sequence[type], options: Sequence[type]
) -> Iterator[str]:
    """What may be given by its name alone, as the key that it is short for.

    `--data DIR` and `--data=DIR` become `--config.data=DIR`, and `--flag` becomes `--config.flag`,
    where a key has `short` in its metadata. Options become `--options.topology=…`.
    """
    short = {
        field.name: ("config", field)
        for kind in config_classes
        for field in dataclasses.fields(kind)
        if field.metadata.get("short")
    }
    short |= {
        field.name: ("options", field) for kind in options for field in dataclasses.fields(kind)
    }
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        found = short.get(name.removeprefix("--")) if name.startswith("--") else None
        if found is None:
            yield argument
        else:
            group, field = found
            takes_next = not equals and field.type is not bool
            value = f"={next(rest, '')}" if takes_next else ""
            yield f"--{group}.{argument.removeprefix('--')}{value}"


def _split(arguments: Iterable[str]) -> tuple[str, list[str], list[str]]:
    """Parts the arguments into the config file's name, keys that are set, and nameless values."""
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
            raise UserError(f"{argument!r}: {_NOT_UNDERSTOOD}")
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
        raise UserError(re.sub(r"(--config|\boptions)\.", "--", str(error))) from None
    return options


def _set_positional(config: Any, positional: Mapping[str, str], values: Sequence[str]) -> None:
    if len(values) != len(positional):
        found = " ".join(map(repr, values)) or "nothing"
        raise UserError(f"wanted {' '.join(positional.values())}, found {found}; give just these")
    for key, value in zip(positional, values, strict=True):
        setattr(config, key, value)


def _made(
    module: types.ModuleType, specification: str, variant: str, classes: Sequence[type]
) -> Any:
    """What the config file gives for a variant."""
    path = specification.partition(":")[0]
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: has no function get_config(variant)")
    with _blaming(path):
        config = module.get_config(variant)
    if not isinstance(config, tuple(classes)):
        wanted = " or ".join(each.__name__ for each in classes)
        raise UserError(
            f"{specification}: returns a {type(config).__name__}, "
            f"but this verb takes a {wanted}; name another variant or verb"
        )
    return config


def _import(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise UserError(f"{path}: no such config file")
    name = f"teacherlm_config_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UserError(f"{path}: not a Python file; a config's name ends in .py")
    module = importlib.util.module_from_spec(specification)
    with _blaming(str(path)):
        specification.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _blaming(path: str) -> Iterator[None]:
    """Turns whatever a user's config file raises into one line that names the file's own line."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except SyntaxError as error:
        raise UserError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)
        full = os.path.abspath(path)
        lines = [frame.lineno for frame in trace if os.path.abspath(frame.filename) == full]
        where = f"{path}:{lines[-1]}" if lines else path
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error


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
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dataclass(
            "config", copy.deepcopy(config), flag_values=values, sys_argv=overrides
        )
        values(["teacherlm", *overrides])
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(f"{error}".replace("flag --", "--")) from None
    return values.config


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
