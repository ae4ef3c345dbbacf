"""Fields of config classes, with their help texts and limits, and the check of their values."""

import dataclasses
import difflib
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from teacherlm_jax.config.names import ADDRESS, BUCKET, HUB
from teacherlm_jax.errors import UserError

_INTERVAL = re.compile(r"([\[(])(-?\d+), (\d+|inf)([\])])")
_LARGEST = 2**31 - 1  # of an int on devices, in files and in other packages
WEB = ("http://", "https://")  # begin the address of a server


def plain(default: Any, *, short: bool = False, help: str = "") -> Any:
    """Return a field that takes any value of its type.

    Args:
        default: the value if a config sets none.
        short: whether the command line accepts the bare name, as in `--check_only`.
        help: meaning and unit, shown by `teacherlm VERB --help`; every function here takes it.
    """
    return _field(default, help, short=short)


def choice(*names: str, renamed: Mapping[str, str] | None = None, help: str = "") -> Any:
    """Return a field that takes one of `names`; the first is its default.

    `renamed` maps names of earlier versions to present ones, for the error message.
    """
    return _field(names[0], help, choices=names, renamed=renamed or {})


def number(default: float, *, limits: str, unset: float | None = None, help: str = "") -> Any:
    """Return a numeric field within `limits`, an interval such as "[0, 1)" or "(0, inf)".

    `unset` is the value that means "none", which the help shows.
    """
    if not _INTERVAL.fullmatch(limits):
        raise ValueError(f"limits {limits!r} is not an interval")
    return _field(default, help, limits=limits, unset=unset)


def at_least(minimum: int, default: float, *, unset: float | None = None, help: str = "") -> Any:
    """Return a numeric field with a lower bound; see `number` for `unset`."""
    return number(default, limits=f"[{minimum}, inf)", unset=unset, help=help)


def required(*, help: str = "") -> Any:
    """Return a text field that the config or the command line must fill."""
    return _field("", help, required=True)


def location(
    default: str = "",
    *,
    required: bool = False,
    local: bool = False,
    hub: bool = False,
    web: bool = False,
    short: bool = False,
    help: str = "",
) -> Any:
    """Return a field for the path of a file or folder.

    Paths do not identify a run: it may be resumed with other paths, and its inputs are compared by
    digest.

    Args:
        default: the path if a config sets none.
        required: whether the config or the command line must fill it.
        local: whether addresses other than `gs://bucket/folder` are refused.
        hub: whether `local` allows the address of a model, `hf://org/name`.
        web: whether `local` allows the address of a server, `http://` or `https://`.
        short: whether the command line accepts the bare name, as in `--data=DIR`.
        help: see `plain`.
    """
    stores = (BUCKET, *((HUB,) if hub else ()), *(WEB if web else ()))
    refused = {"stores": stores} if local else {}
    return _field(default, help, path=True, required=required, short=short, **refused)


def locations(*, local: bool = False, short: bool = False, help: str = "") -> Any:
    """Return a field for the paths of any number of files or folders; see `location`."""
    refused = {"stores": (BUCKET,)} if local else {}
    return _field((), help, path=True, short=short, **refused)


def words(name: str, *, help: str = "") -> Any:
    """Return a field that takes all words of a command line without a key: paths of folders.

    `name` is shown in the usage of the command, as in "RUN [RUN ...]". For addresses, see `local`
    of `location`.
    """
    return _field((), help, words=name, stores=(BUCKET,))


def group(
    kind: type, *, named: Mapping[str, Callable[[], Any]] | None = None, help: str = ""
) -> Any:
    """Return a field that holds a config class of its own, with that class's defaults.

    `named` are functions that return settings of that class, by names that the command line accepts
    for all keys of the group at once, as in `--config.sampling=authors`.
    """
    metadata = {"help": help or summary(kind), "named": named or {}}
    return dataclasses.field(default_factory=kind, metadata=metadata)


def summary(kind: type) -> str:
    """Return the first paragraph of a class's docstring, on one line."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def _field(default: Any, help: str, **metadata: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


def option_of(name: str) -> str:
    """Return the command-line option of a field; `from_` gives "from", a keyword of Python."""
    return name.removesuffix("_")


def path_keys(value: Any, key: str = "") -> set[str]:
    """Return the dotted keys of a config, such as "source.path", that hold paths.

    Items of tuples are numbered, as in "sources[0].path".
    """
    keys = set()
    for field in dataclasses.fields(value):
        name, item = f"{key}.{field.name}" if key else field.name, getattr(value, field.name)
        if field.metadata.get("path"):
            several = isinstance(item, tuple) and item
            keys |= {f"{name}[{index}]" for index in range(len(item))} if several else {name}
        for part, inside in _dataclasses_in(name, item):
            keys |= path_keys(inside, part)
    return keys


def check(value: Any, key: str = "config") -> None:
    """Raise UserError with the first key of a config (a dataclass) that has an invalid value.

    `key` is the name of the config itself. An int in a field of type float becomes a float. No int
    may need more than 32 bits.
    """
    for name, problem in problems(value, key):
        raise UserError(f"{name}: {problem}")


def problems(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for every invalid field of a dataclass, nested classes first."""
    hints = typing.get_type_hints(type(value))
    for field in dataclasses.fields(value):
        name, item = f"{key}.{field.name}", getattr(value, field.name)
        if hints[field.name] is float and type(item) is int and abs(item) <= sys.float_info.max:
            setattr(value, field.name, float(item))
        elif not _has_type(item, hints[field.name]):
            yield name, f"expected {type_name(hints[field.name])}, got {item!r}"
            continue
        yield from _field_problems(name, item, field.metadata)
        for part, inside in _dataclasses_in(name, item):
            yield from problems(inside, part)
    if hasattr(value, "problems"):
        for inner, problem in value.problems():
            yield f"{key}.{inner}", problem


def _field_problems(name: str, item: Any, metadata: Any) -> Iterator[tuple[str, str]]:
    if "choices" in metadata and item not in metadata["choices"]:
        if item in metadata["renamed"]:
            yield name, f"{item!r} is now named {metadata['renamed'][item]!r}; use that"
        else:
            yield name, not_among(item, metadata["choices"])
    if "limits" in metadata and not _within(item, metadata["limits"]):
        yield name, f"{item} is not in {metadata['limits']}"
    elif type(item) is int and item > _LARGEST:
        yield name, f"{item} is too large; the largest int is {_LARGEST}"
    if metadata.get("required") and not item:
        yield name, f"empty; set it, as in --{name}=VALUE"
    for path in item if isinstance(item, tuple) else (item,):
        stores = metadata.get("stores")
        if stores and ADDRESS.match(path) and not path.startswith(stores):
            kinds = " or ".join(("paths on this machine", *stores))
            yield name, f"{path} is not supported; expected {kinds}, so copy or mount it"


def not_among(value: str, choices: typing.Sequence[str]) -> str:
    """Return the message for a value that is none of `choices`, with the nearest of them."""
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"expected one of {', '.join(map(repr, choices))}, got {value!r}{hint}"


def _within(value: float, limits: str) -> bool:
    match = _INTERVAL.fullmatch(limits)
    assert match is not None  # `number` checked it
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


def type_name(hint: Any) -> str:
    """Return a type with its article for messages, as in "an int" or "a tuple of strings"."""
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return "a tuple of strings" if inner is str else f"a tuple of {inner.__name__}"
    name = {str: "string"}.get(hint, hint.__name__)
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
