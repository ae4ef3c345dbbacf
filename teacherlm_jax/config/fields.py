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


def choice(*names: str) -> Any:
    """A field that takes one of `names`; the first is its default."""
    return dataclasses.field(default=names[0], metadata={"choices": names})


def number(default: float, *, limits: str) -> Any:
    """A numeric field within `limits`, an interval such as "[0, 1)" or "(0, inf)"."""
    if not _INTERVAL.fullmatch(limits):
        raise ValueError(f"limits {limits!r} is no interval")
    return dataclasses.field(default=default, metadata={"limits": limits})


def at_least(minimum: int, default: float) -> Any:
    """A numeric field that is never below `minimum`."""
    return number(default, limits=f"[{minimum}, inf)")


def required(*, local: bool = False) -> Any:
    """A text field that the config or the command line must fill; `local` as by `local`."""
    return dataclasses.field(default="", metadata={"required": True, "local": local})


def local(*, short: bool = False) -> Any:
    """A field for a path of this machine, "" unless it is given; no address of a store will do.

    What takes such an address for a path makes a folder of its name here.

    Args:
        short: the command line may give it by its name alone; see `flags.load`.
    """
    return dataclasses.field(default="", metadata={"local": True, "short": short})


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
