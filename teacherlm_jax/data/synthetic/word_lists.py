"""The words that several families share."""

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
    """`a cup`, `an apple`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def capitalised(text: str) -> str:
    """The text as a sentence begins: `An apple`."""
    return text[0].upper() + text[1:]


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return f"{', '.join(items[:-1])} and {items[-1]}"
