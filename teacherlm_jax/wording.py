"""Numbers with their nouns, and texts that a terminal can show, for output and messages."""

_CONTROL = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(0x20), *range(0x7F, 0xA0))
    if chr(code) not in "\n\t"
}

GIB = 2**30  # bytes; sizes are shown in GiB


def noun(number: int, singular: str, plural: str = "") -> str:
    """Return a noun for a number of things, as in `row` for 1 and `rows` for 0 and 2.

    `plural` defaults to the singular with an "s".
    """
    return singular if number == 1 else plural or f"{singular}s"


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun, such as `1 sample` or `12,345 samples`."""
    return f"{number:,} {noun(number, singular, plural)}"


def printable(text: str) -> str:
    """Return a text with U+FFFD in place of control characters, except line breaks and tabs.

    Ids, sources and texts of data go into messages; a terminal would obey what they contain.
    """
    return text.replace("\r\n", "\n").translate(_CONTROL)
