"""Numbers with their nouns, for output and messages."""

GIB = 2**30  # bytes; sizes are shown in GiB


def noun(number: int, singular: str, plural: str = "") -> str:
    """Return a noun for a number of things, as in `row` for 1 and `rows` for 0 and 2.

    `plural` defaults to the singular with an "s".
    """
    return singular if number == 1 else plural or f"{singular}s"


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun, such as `1 sample` or `12,345 samples`."""
    return f"{number:,} {noun(number, singular, plural)}"
