"""Overrides: values that replace single keys of a config.

The command line gives them as text, `--config.KEY=VALUE`; a sweep gives them as values. A key is
dotted and may index items of tuples, as in "sources[0].limit".
"""

import ast
import copy
import dataclasses
import difflib
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from teacherlm_jax.config import fields
from teacherlm_jax.errors import UserError

_OVERRIDE = re.compile(r"--(?P<no>no)?config\.(?P<key>[^=]+)(=(?P<value>.*))?", re.DOTALL)
_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")  # of a key: a field's name, or an item's number
_BOOLS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def split(argument: str) -> tuple[str, str | None] | None:
    """Return (key, text) of an argument `--config.KEY=TEXT`; None if it is not an override.

    The text is None for `--config.KEY`, which sets a bool, and "false" for `--noconfig.KEY`.
    """
    match = _OVERRIDE.fullmatch(argument)
    if match is None:
        return None
    return match["key"], "false" if match["no"] else match["value"]


def apply_text(config: Any, key: str, text: str | None) -> Any:
    """Return a copy of the config with the value set to the value in `text`; None means True.

    Raises UserError for an unknown key and for a text that is not of its type.
    """
    name = f"--config.{key}"
    if names := named_settings(config, key):
        if text is None or text not in names:
            inside = next(leaf for leaf, _ in leaves(config) if leaf.startswith(f"{key}."))
            raise UserError(
                f"config.{key}: {fields.not_among(text or '', tuple(names))}; single keys are set "
                f"as in --config.{inside}=VALUE"
            )
        return _with(config, key, names[text]())
    _require_known(config, key, name, "--config.")
    hint = _hint(config, key)
    if text is None:
        if hint is not bool:
            raise UserError(f"{name}: no value; write {name}=VALUE")
        text = "true"
    try:
        value = parse(text, hint)
    except ValueError as error:
        raise UserError(f"config.{key}: {error}") from None
    return _with(config, key, value)


def apply_values(config: Any, values: Mapping[str, Any], origin: str) -> Any:
    """Return a copy of the config with the values by key; UserError for an unknown key.

    `origin` names the source of the keys in the message.
    """
    for key, value in values.items():
        _require_known(config, key, f"{origin}: {key}", "")
        config = _with(config, key, value)
    return config


def named_settings(config: Any, key: str) -> Mapping[str, Callable[[], Any]]:
    """Return the named settings of a group of keys, as functions by name; empty if it has none."""
    owner = config
    *way, last = key.split(".")
    for step in way:
        owner = getattr(owner, step, None)
    known = dataclasses.fields(owner) if dataclasses.is_dataclass(owner) else ()
    return next((field.metadata.get("named", {}) for field in known if field.name == last), {})


def has_key(kind: Any, key: str) -> bool:
    """Return whether configs of a class have a key; any index of a tuple item is accepted."""
    for step in _STEP.findall(key):
        if step.startswith("["):
            kind = next(iter(typing.get_args(kind)), None)
        elif dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind).get(step)
        else:
            return False
    return kind is not None


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (key, value) for everything in a config that an override can set."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            name = f"{key}.{field.name}" if key else field.name
            yield from leaves(getattr(value, field.name), name)
    elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        for index, item in enumerate(value):
            yield from leaves(item, f"{key}[{index}]")
    else:
        yield key, value


def parse(text: str, hint: Any) -> Any:
    """Parse a text as a value of a type: str, int, float, bool or tuple[str, ...].

    A tuple is written as in Python or with bare commas, as in `finished,not_empty`. Raises
    ValueError with the expected type.
    """
    if typing.get_origin(hint) is tuple:
        return _parse_tuple(text)
    try:
        return _BOOLS[text.lower()] if hint is bool else hint(text)
    except (KeyError, ValueError):
        raise ValueError(f"expected {fields.type_name(hint)}, got {text!r}") from None


def _parse_tuple(text: str) -> tuple[Any, ...]:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, TypeError, ValueError):  # not written as in Python
        value = None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (tuple, list)) and (text[0] in "([" or all(map(_is_text, value))):
        return tuple(value)
    first, *others = text.split(",")
    items = [item for item in (first, *(other.removeprefix(" ") for other in others)) if item]
    if any(item != item.strip() for item in items):
        raise ValueError(
            f"expected texts without white space around them, got {text!r}; to keep it, write them "
            f"as in Python and in quotes: {tuple(items)!r}"
        )
    return tuple(items)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _require_known(config: Any, key: str, name: str, prefix: str) -> None:
    """Raise UserError for an unknown key; `prefix` goes before the keys that it suggests."""
    known = [leaf for leaf, _ in leaves(config)]
    if key in known:
        return
    inside = [leaf for leaf in known if leaf.startswith((f"{key}.", f"{key}["))]
    if inside:
        raise UserError(f"{name}: is a group of keys; set one of them, such as {prefix}{inside[0]}")
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"; did you mean {prefix}{near[0]}?" if near else ""
    raise UserError(f"{name}: unknown key{hint}")


def _steps(config: Any, key: str) -> tuple[Any, str]:
    """Return the object that holds a known key's value, and the name of its field there."""
    *way, last = _STEP.findall(key)
    owner = config
    for step in way:
        owner = owner[int(step[1:-1])] if step.startswith("[") else getattr(owner, step)
    return owner, last


def _hint(config: Any, key: str) -> Any:
    owner, name = _steps(config, key)
    return typing.get_type_hints(type(owner))[name]


def _with(config: Any, key: str, value: Any) -> Any:
    config = copy.deepcopy(config)
    owner, name = _steps(config, key)
    setattr(owner, name, value)
    return config
