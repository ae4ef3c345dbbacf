"""Variants and settings of a config file, as in `--config=FILE.py:NAME,key=value`."""

from collections.abc import Iterable
from typing import Any

from teacherlm_jax.config.fields import type_name
from teacherlm_jax.errors import UserError


def parse(argument: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    """Parse the text after the colon of `--config=FILE.py:NAME,key=value,flag`.

    Args:
        argument: the text after the colon; may be empty.
        settings: the keys that the config file accepts, with their defaults. A key whose default
            is a bool is a flag and may be given without a value.

    Returns:
        The name ("" when the first part is a setting) and the settings with their values.

    Raises:
        UserError: an unknown key, or a value of the wrong type.
    """
    parts = [part for part in argument.split(",") if part]
    name = parts.pop(0) if parts and "=" not in parts[0] and parts[0] not in settings else ""
    for part in parts:
        key, equals, text = part.partition("=")
        if key not in settings:
            raise UserError(f"--config: unknown setting {key!r}; known: {', '.join(settings)}")
        kind = type(settings[key])
        try:
            settings[key] = text.lower() in ("", "true", "1") if kind is bool else kind(text)
        except ValueError:
            raise UserError(
                f"--config: setting {key}: expected {type_name(kind)}, got {text!r}"
            ) from None
        if not equals and kind is not bool:
            raise UserError(f"--config: setting {key} needs a value, as in {key}={settings[key]!r}")
    return name, settings


def chosen(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in a setting such as `a+b`; all names if it is empty, none for `none`."""
    if text == "none":
        return ()
    return tuple(text.split("+")) if text else tuple(names)


def chosen_of(
    key: str, text: str, known: Iterable[str], default: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the names in the setting `key`, all of which must be among `known`.

    If it is empty, these are those of `default`, or all known ones. Raises UserError.
    """
    known = tuple(known)
    names = chosen(text, tuple(default) or known)
    for name in names:
        if name not in known:
            raise UserError(f"{key}: unknown {name!r}; known: {', '.join(known)}")
    return names
