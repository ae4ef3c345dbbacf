"""Parse the words of a command line: overrides, options by name, and values without a name."""

import argparse
import dataclasses
import difflib
import itertools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from teacherlm_jax.cli import overrides
from teacherlm_jax.config import fields
from teacherlm_jax.errors import UserError

_NO_VALUE = "expected one argument"  # message of argparse
_NO_VALUES = "expected at least one argument"  # message of argparse
Override = tuple[str, str | None]  # a key and the text of its value


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The parsed words of a command line after its verb.

    Attributes:
        files: values of `--config`.
        assigned: overrides of the config.
        options: instance of each options class, by class.
    """

    files: Sequence[str]
    assigned: Sequence[Override]
    options: Mapping[type, Any]


def parse(
    words: Sequence[str],
    config_classes: Sequence[type],
    positional: Mapping[str, str],
    options: Sequence[type],
) -> Arguments:
    """Parse the words of a command line; raise UserError for the first wrong one.

    Args:
        words: the command line after the verb.
        config_classes: config classes that the verb accepts, some keys of which may be short.
        positional: names in the help, by key, of values that are given without a key, in order.
        options: dataclasses of options given by name only, as in `--topology=v5e:8x8`.
    """
    assigned, others = _split(words)
    parsed, values = _parse(others, config_classes, options)
    chosen = {kind: _options(kind, parsed) for kind in options}
    assigned += _positional(values, positional)
    assigned += [(key, str(parsed[key])) for key in _short_keys(config_classes) if key in parsed]
    return Arguments(parsed["config"], assigned, chosen)


def parse_options(words: Sequence[str], kind: type) -> Any:
    """Return the options, a dataclass, of a command that has no config.

    Words without a key fill the field that is declared with `fields.words`. Raises UserError.
    """
    parsed, values = _parse(words, (), (kind,))
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


def _split(words: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Separate the overrides, `--config.KEY=VALUE`, from all other words."""
    assigned, others = [], []
    for word in words:
        override = overrides.split(word)
        if override is None:
            others.append(word)
        else:
            assigned.append(override)
    return assigned, others


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
    flags = {f"--{fields.option_of(name)}" for name, hint in named.items() if hint is bool}
    words = [  # a flag does not take the next word as its value, unless that is one
        f"{word}=true" if word in flags and following.lower() not in ("true", "false") else word
        for word, following in zip(words, (*words[1:], ""), strict=False)
    ]
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


def _positional(values: Sequence[str], names: Mapping[str, str]) -> list[Override]:
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
