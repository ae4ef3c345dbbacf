"""Secrets in command lines, replaced before anything is printed."""

import re
from collections.abc import Iterable, Mapping

MASK = "***"
# Names of variables and keys whose values are secrets, such as HF_TOKEN and WANDB_API_KEY.
_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|_KEY|APIKEY)$", re.IGNORECASE)
# In a word that is a shell line or a list: a name, and a value that may be in quotes.
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)=('[^']+'|\"[^\"]+\"|[^\s,;'\"]+)")
_SHORTEST = 8  # characters; a shorter value is part of too many other words


def is_secret(name: str) -> bool:
    """Return whether the value of a variable or key of this name is a secret."""
    return bool(_SECRET.search(name))


def masked(words: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Return words in which secrets are replaced: NAME=VALUE by name, and values of variables."""
    values = secrets(environment)
    return [without(_by_name(word), values) for word in words]


def secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the values of the variables that hold secrets, the longest first."""
    return _long(value for name, value in environment.items() if is_secret(name))


def assigned(words: Iterable[str]) -> list[str]:
    """Return the values of secrets that shell lines among the words assign, the longest first."""
    found = [part for word in words for part in _ASSIGNED.findall(word)]
    return _long(value.strip("'\"") for name, value in found if is_secret(name))


def _long(values: Iterable[str]) -> list[str]:
    return sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True)


def without(text: str, values: Iterable[str]) -> str:
    """Return a text in which the values of secrets are replaced."""
    for value in values:
        text = text.replace(value, MASK)
    return text


def _by_name(word: str) -> str:
    name, equals, value = word.partition("=")
    if name == "--secret":  # of sky, followed by a name, or by a name and a value
        name, equals, value = value.partition("=")
        return f"--secret={name}={MASK}" if value else word
    if equals and value and is_secret(name):
        return f"{name}={MASK}"
    return _ASSIGNED.sub(lambda part: f"{part[1]}={MASK}" if is_secret(part[1]) else part[0], word)
