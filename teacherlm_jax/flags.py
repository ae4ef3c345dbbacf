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

from teacherlm_jax import fields
from teacherlm_jax.errors import UserError

_OVERRIDE = re.compile(r"--?(?P<no>no)?config\.(?P<key>[^=]+)(=(?P<value>.*))?$", re.DOTALL)


def load(
    arguments: Sequence[str],
    config_class: type,
    positional: Mapping[str, str] | None = None,
    needs_file: bool = True,
) -> Any:
    """Reads the config that the command line names and applies its overrides.

    Args:
        arguments: what follows the verb on the command line.
        config_class: dataclass that the verb takes.
        positional: of a verb that takes values without a name: the keys that they set, in order,
            with what the help calls each. Such a verb needs no config file.
        needs_file: whether a verb without such values needs one.

    Returns:
        An instance of `config_class` whose every field has the right type and a possible value.

    Raises:
        UserError: naming the file or key that is wrong, with the nearest known key.
    """
    specification, overrides, values = _split(_in_full(arguments, config_class))
    path = specification.split(":", 1)[0] or "the command line"
    config = _from_file(specification, config_class) if specification else config_class()
    if positional:
        _set_positional(config, positional, values)
    elif values:
        raise UserError(f"{values[0]!r}: not understood; overrides look like --config.key=value")
    elif not specification and needs_file:
        raise UserError(
            "--config is missing; name a config file, as in --config=configs/quickstart.py"
        )
    for override in overrides:
        _require_known_key(path, config, override)
    config = _override(config, overrides)
    with _blaming(path):
        fields.check(config)
    return config


def describe(config_class: type) -> str:
    """One line a key: its name and default, for `teacherlm VERB --help`."""
    return "\n".join(f"  --{key}={value!r}" for key, value in _described(config_class(), "config"))


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


def _in_full(arguments: Sequence[str], config_class: type) -> Iterator[str]:
    """Keys that may be given by their name alone (`short` in their metadata), as overrides.

    `--data DIR` and `--data=DIR` become `--config.data=DIR`, and `--flag` becomes `--config.flag`.
    """
    short = {field.name: field for field in dataclasses.fields(config_class)}
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        field = short.get(name.removeprefix("--")) if name.startswith("--") else None
        if field is None or not field.metadata.get("short"):
            yield argument
        else:
            takes_next = not equals and field.type is not bool
            value = f"={next(rest, '')}" if takes_next else ""
            yield f"--config.{argument.removeprefix('--')}{value}"


def _split(arguments: Iterable[str]) -> tuple[str, list[str], list[str]]:
    """Parts the arguments into the config file's name, the overrides and values without a name."""
    specification = ""
    overrides: list[str] = []
    values: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in ("--config", "-config") or argument.startswith(("--config=", "-config=")):
            if specification:
                raise UserError(f"{argument}: a second --config; give one")
            specification = argument.partition("=")[2] or next(rest, "")
        elif _OVERRIDE.match(argument):
            overrides.append(argument)
        elif argument.startswith("-"):
            raise UserError(f"{argument!r}: not understood; overrides look like --config.key=value")
        else:
            values.append(argument)
    return specification, overrides, values


def _set_positional(config: Any, positional: Mapping[str, str], values: Sequence[str]) -> None:
    if len(values) != len(positional):
        found = " ".join(map(repr, values)) or "nothing"
        raise UserError(f"wanted {' '.join(positional.values())}, found {found}; give just these")
    for key, value in zip(positional, values, strict=True):
        setattr(config, key, value)


def _from_file(specification: str, config_class: type) -> Any:
    path, _, variant = specification.partition(":")
    module = _import(Path(path))
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: has no function get_config(variant)")
    with _blaming(path):
        config = module.get_config(variant)
    if not isinstance(config, config_class):
        raise UserError(
            f"{specification}: returns a {type(config).__name__}, "
            f"but this verb takes a {config_class.__name__}; name another variant or verb"
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


def _require_known_key(path: str, config: Any, override: str) -> None:
    match = _OVERRIDE.match(override)
    if match is None:
        raise UserError(f"{override!r}: not understood; overrides look like --config.key=value")
    key = match["key"]
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
