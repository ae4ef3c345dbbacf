"""Help of the command, generated from the config classes: plain ASCII, 100 columns wide."""

import dataclasses
import textwrap
import typing
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.cli import arguments, validate_option
from teacherlm_jax.cli.tools import Tool
from teacherlm_jax.config import fields
from teacherlm_jax.pipelines.verbs import Verb

WIDTH = 100
COMMON_OPTIONS = {  # of every verb
    f"{validate_option.OPTION}[=DEVICES]": "check the command line, with its config file, and do "
    "nothing else; with a number also that config.mesh fits this number of devices",
    "--help": "show this help",
}
_TYPES = {int: "INT", float: "FLOAT", bool: "BOOL", str: "TEXT"}


def verb_help(name: str, verb: Verb, options: Sequence[type]) -> str:
    """Return the help of one verb: its usage, its options, and every key of its config classes.

    `options` are classes of options that are not passed to the verb.
    """
    parts = [f"usage: {verb.usage(name)}", _wrapped(verb.summary), "options:"]
    parts += _positional_entries(verb)
    file_help = "config file: a Python file with a function get_config(variant)"
    parts.append(_entry("--config=FILE.py[:VARIANT]", "", file_help))
    override_help = "set a key of the config; the keys are listed below"
    parts.append(_entry("--config.KEY=VALUE", "", override_help))
    for kind in (*verb.options, *options):
        parts += (_option_entry(field, hint) for field, hint in _fields(kind))
    for kind in verb.config_classes:
        parts += (_short_entry(field, hint) for field, hint in _fields(kind) if _is_short(field))
    parts += _common_entries()
    shown: dict[type, str] = {}
    for kind in verb.config_classes:
        several = len(verb.config_classes) > 1
        which = f", if it is {fields.type_name(kind)}" if several else f" ({kind.__name__})"
        parts.append(_wrapped(f"keys of the config{which}: {fields.summary(kind)}"))
        parts += _key_entries(kind, "--config", shown, leave_out=verb.positional)
    parts.append(_examples(verb.example))
    return "\n\n".join(parts)


def tool_help(name: str, tool: Tool) -> str:
    """Return the help of a command without a config: its usage and its options."""
    words = arguments.words_field(tool.options)
    given = [f"{words.metadata['words']} [{words.metadata['words']} ...]"] if words else []
    parts = [f"usage: {' '.join(('teacherlm', name, *given, '[--OPTION=VALUE ...]'))}"]
    parts += [_wrapped(tool.summary), "options:"]
    if words is not None:
        parts.append(_entry(words.metadata["words"], "required", words.metadata["help"]))
    parts += (_option_entry(*field) for field in _fields(tool.options) if field[0] != words)
    parts += _common_entries()
    parts.append(_examples(tool.example))
    return "\n\n".join(parts)


def _common_entries() -> list[str]:
    return [_entry(option, "", text) for option, text in COMMON_OPTIONS.items()]


def _examples(text: str) -> str:
    lines = text.splitlines()
    return "\n  ".join(("examples:" if len(lines) > 1 else "example:", *lines))


def _positional_entries(verb: Verb) -> Iterator[str]:
    """Yield an entry per value that is given without a key."""
    helps = {field.name: field.metadata["help"] for field, _ in _fields(verb.config_classes[0])}
    for key, word in verb.positional.items():
        yield _entry(word, "required", f"{helps[key]} (the key is config.{key})")


def _key_entries(
    kind: type, key: str, shown: dict[type, str], leave_out: Container[str] = ()
) -> Iterator[str]:
    """Yield an entry per key, those of nested classes last; [N] means any item of a tuple.

    `shown` has the name of the first group of each class; the keys of later groups are not
    repeated. `leave_out` names fields that are described elsewhere.
    """
    groups: list[tuple[str, dataclasses.Field[Any], type]] = []
    for field, hint in _fields(kind):
        if field.name in leave_out:
            continue
        name, inner = f"{key}.{field.name}", next(iter(typing.get_args(hint)), None)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            groups.append((name, field, hint))
        elif isinstance(inner, type) and dataclasses.is_dataclass(inner):
            groups.append((f"{name}[N]", field, inner))
        else:
            yield _field_entry(name, field, hint)
    for name, field, inside in groups:
        title = name.removeprefix("--config.")
        same = f" (same keys as {shown[inside]} above)" if inside in shown else ""
        yield _wrapped(f"{title}: {field.metadata['help']}{same}")
        if named := field.metadata.get("named"):
            facts = f"one of {', '.join(named)}"
            yield _entry(f"{name}=NAME", facts, _differences(named))
        if not same:
            shown[inside] = title
            yield from _key_entries(inside, name, shown)


def _differences(named: Mapping[str, Callable[[], Any]]) -> str:
    """Return the keys in which named settings differ, as in "a: top_p=0.9; b: top_p=1.0"."""
    values = {name: vars(settings()) for name, settings in named.items()}
    first = next(iter(values.values()))
    keys = [key for key in first if any(other[key] != first[key] for other in values.values())]
    return "; ".join(
        f"{name}: " + ", ".join(f"{key}={of_name[key]}" for key in keys)
        for name, of_name in values.items()
    )


def _fields(kind: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        yield field, hints[field.name]


def _option_entry(field: dataclasses.Field[Any], hint: Any) -> str:
    option = f"--{fields.option_of(field.name)}"
    if hint is bool:
        return _entry(option, "", field.metadata["help"])
    return _field_entry(option, field, hint)


def _is_short(field: dataclasses.Field[Any]) -> bool:
    return bool(field.metadata.get("short"))


def _short_entry(field: dataclasses.Field[Any], hint: Any) -> str:
    value = "" if hint is bool else f"={_type(field, hint)}"
    return _entry(f"--{field.name}{value}", "", f"same as --config.{field.name}")


def _field_entry(name: str, field: dataclasses.Field[Any], hint: Any) -> str:
    short = f", or --{field.name}" if _is_short(field) else ""
    return _entry(f"{name}={_type(field, hint)}{short}", _facts(field), field.metadata["help"])


def _type(field: dataclasses.Field[Any], hint: Any) -> str:
    if "choices" in field.metadata:
        return "NAME"
    word = "PATH" if field.metadata.get("path") else "NAME"
    if typing.get_origin(hint) is tuple:
        return f"{word},{word},..."
    return word if word == "PATH" else _TYPES[hint]


def _facts(field: dataclasses.Field[Any]) -> str:
    """Return a field's default, choices and limits, as in "default: 8; at least 1"."""
    metadata, default = field.metadata, field.default
    if metadata.get("required"):
        return "required"
    if default == metadata.get("unset"):
        return "default: none"
    shown = ", ".join(default) if isinstance(default, tuple) else str(default)
    facts = [f"default: {shown or 'empty'}"]
    if "choices" in metadata:
        names = [name for name in metadata["choices"] if name]
        facts.append(f"one of {', '.join(names)}")
    if "limits" in metadata:
        facts.append(_limits(metadata["limits"]))
    return "; ".join(facts)


def _limits(interval: str) -> str:
    low = interval[1:].partition(",")[0]
    if interval.endswith("inf)"):
        return f"at least {low}" if interval.startswith("[") else f"greater than {low}"
    return f"in {interval}"


def _entry(head: str, facts: str, text: str) -> str:
    """Return a head line with its facts in brackets, and the text indented below it."""
    first = f"{head}  ({facts})" if facts else head
    return "\n".join((_indented(first, 2, 8), _indented(text, 6, 6)))


def _indented(text: str, first: int, rest: int) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=" " * first,
        subsequent_indent=" " * rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(text: str) -> str:
    return _indented(text, 0, 2)
