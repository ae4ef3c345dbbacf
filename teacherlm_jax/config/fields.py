"""Fields of configs that say what they may hold, and the check that holds them to it."""

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator
from typing import Any

from teacherlm_jax.errors import UserError

_INTERVAL = re.compile(r"([\[(])(-?\d+), (\d+|inf)([\])])")
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*://")  # of a store


def plain(default: Any, *, help: str = "") -> Any:
    """Return a field that takes any value of its type.

    Args:
        default: its value where a config sets none.
        help: what it means, with its unit, for `teacherlm VERB --help`; every helper here takes it.
    """
    return _field(default, help)


def choice(*names: str, help: str = "") -> Any:
    """Return a field that takes one of `names`; the first is its default."""
    return _field(names[0], help, choices=names)


def number(default: float, *, limits: str, help: str = "") -> Any:
    """Return a numeric field within `limits`, an interval such as "[0, 1)" or "(0, inf)"."""
    if not _INTERVAL.fullmatch(limits):
        raise ValueError(f"limits {limits!r} is not an interval")
    return _field(default, help, limits=limits)


def at_least(minimum: int, default: float, *, help: str = "") -> Any:
    """Return a numeric field with a lower bound."""
    return number(default, limits=f"[{minimum}, inf)", help=help)


def required(*, help: str = "") -> Any:
    """Return a text field that the config or the command line must fill."""
    return _field("", help, required=True)


def location(
    *, required: bool = False, local: bool = False, short: bool = False, help: str = ""
) -> Any:
    """Return a field for a file or folder; "" unless it is given.

    A path says where something is and not what it is, so a run may be resumed with another one;
    its inputs are compared by digest.

    Args:
        required: whether the config or the command line must fill it.
        local: whether an address such as `gs://bucket/folder` is refused.
        short: whether the command line may give it by its name alone, as in `--data=DIR`.
        help: see `plain`.
    """
    return _field("", help, path=True, required=required, local=local, short=short)


def _field(default: Any, help: str, **metadata: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


def path_keys(value: Any, key: str = "") -> set[str]:
    """Return the dotted keys of a config, such as "source.path", that hold paths.

    Items of tuples are numbered, as in "sources[0].path".
    """
    keys = set()
    for field in dataclasses.fields(value):
        name, item = f"{key}.{field.name}" if key else field.name, getattr(value, field.name)
        if field.metadata.get("path"):
            keys.add(name)
        for part, inside in _dataclasses_in(name, item):
            keys |= path_keys(inside, part)
    return keys


def check(value: Any, key: str = "config") -> None:
    """Raises UserError naming the first key of a config (a dataclass) that cannot be used.

    `key` is the config's own name. Whole numbers in fields of type float become floats.
    """
    for name, problem in problems(value, key):
        raise UserError(f"{name}: {problem}")


def problems(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yields (key, what is wrong) for every field of a dataclass, its parts before itself."""
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        name, item = f"{key}.{field.name}", getattr(value, field.name)
        if hints[field.name] is float and type(item) is int:
            setattr(value, field.name, float(item))
        elif not _has_type(item, hints[field.name]):
            yield name, f"{item!r} is no {_type_name(hints[field.name])}"
            continue
        yield from _field_problems(name, item, field.metadata)
        for part, inside in _dataclasses_in(name, item):
            yield from problems(inside, part)
    if hasattr(value, "problems"):
        for inner, problem in value.problems():
            yield f"{key}.{inner}", problem


def _field_problems(name: str, item: Any, metadata: Any) -> Iterator[tuple[str, str]]:
    if "choices" in metadata and item not in metadata["choices"]:
        near = difflib.get_close_matches(str(item), metadata["choices"], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        yield name, f"{item!r} is none of {', '.join(map(repr, metadata['choices']))}{hint}"
    if "limits" in metadata and not _within(item, metadata["limits"]):
        yield name, f"{item} is not in {metadata['limits']}"
    if metadata.get("required") and not item:
        yield name, f"empty; give it, as in --{name}=VALUE"
    if metadata.get("local") and _ADDRESS.match(item):
        yield name, f"{item} lies in a store; only folders of this machine work here"


def _within(value: float, limits: str) -> bool:
    match = _INTERVAL.fullmatch(limits)
    assert match is not None  # `number` took it
    opening, low, high, closing = match.groups()
    above = value >= float(low) if opening == "[" else value > float(low)
    return above and (value <= float(high) if closing == "]" else value < float(high))


def _dataclasses_in(name: str, item: Any) -> Iterator[tuple[str, Any]]:
    if dataclasses.is_dataclass(item):
        yield name, item
    elif isinstance(item, tuple):
        for index, part in enumerate(item):
            if dataclasses.is_dataclass(part):
                yield f"{name}[{index}]", part


def _has_type(item: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return isinstance(item, tuple) and all(_has_type(part, inner) for part in item)
    return type(item) is hint


def _type_name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint)
