"""Labels of the names in a figure: a long name loses its middle, but no two labels are equal."""

import json
from collections.abc import Iterator, Mapping, Sequence

_HEADS = (0.5, 0.25, 0.75)  # of the letters that are left, the share before the "…"


def labels(names: Sequence[str], letters: int) -> dict[str, str]:
    """Return the label of each name.

    Names with more than `letters` letters are shortened in the middle. Where that would make two
    labels equal, another part is left out, or fewer letters are.
    """
    names = list(dict.fromkeys(names))
    for shortened in _candidates(names, letters):
        if len(set(shortened)) == len(names):
            return dict(zip(names, shortened, strict=True))
    return {name: name for name in names}


def _candidates(names: Sequence[str], letters: int) -> Iterator[list[str]]:
    for most in range(letters, max(map(len, names), default=0)):
        for head in _HEADS:
            yield [_shortened(name, most, round(head * most)) for name in names]


def _shortened(name: str, most: int, head: int) -> str:
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"


def expression(shown: Mapping[str, str]) -> str:
    """Return the Vega expression that maps a name on an axis or in a legend to its label."""
    return f"{json.dumps(shown)}[datum.label]"
