"""Words that several families share."""

from collections.abc import Sequence

NAMES = ("Ann", "Ben", "Eva", "Leo", "Mia", "Sam", "Tom", "Zoe")
EVENTS = (
    "concert",
    "dance",
    "fair",
    "feast",
    "game",
    "lesson",
    "party",
    "race",
    "trip",
    "wedding",
)


def with_article(noun: str) -> str:
    """Return a noun with its article, such as "a cup" or "an apple"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def capitalised(text: str) -> str:
    """Return a text with a capital at its start, such as "An apple"."""
    return text[0].upper() + text[1:]


def listed(items: Sequence[str]) -> str:
    """Return items as an enumeration, such as "a, b and c"."""
    return f"{', '.join(items[:-1])} and {items[-1]}"
