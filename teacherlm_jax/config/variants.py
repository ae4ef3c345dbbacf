"""What stands behind the colon of `--config=FILE.py:…`: a variant and settings of the file."""

from typing import Any

from teacherlm_jax.errors import UserError


def parse(argument: str, **settings: Any) -> tuple[str, dict[str, Any]]:
    """Splits what stands behind the colon of `--config=FILE.py:NAME,key=value,flag`.

    Args:
        argument: the text behind the colon; may be empty.
        settings: the keys that the config file understands, with their defaults. A default that
            is a bool makes a flag, which may stand without a value.

    Returns:
        The name ("" when the first part is a setting) and the settings with their values.

    Raises:
        UserError: a key that the file does not understand, or a value of another type.
    """
    parts = [part for part in argument.split(",") if part]
    name = parts.pop(0) if parts and "=" not in parts[0] and parts[0] not in settings else ""
    for part in parts:
        key, given, text = part.partition("=")
        if key not in settings:
            raise UserError(f"--config: unknown setting {key!r}; known: {', '.join(settings)}")
        kind = type(settings[key])
        try:
            settings[key] = text.lower() in ("", "true", "1") if kind is bool else kind(text)
        except ValueError:
            raise UserError(f"--config: {key}={text!r} is no {kind.__name__}") from None
        if not given and kind is not bool:
            raise UserError(f"--config: setting {key} needs a value, as in {key}={settings[key]!r}")
    return name, settings
