"""Progress of a run: what is done of what, as figures and as lines of text."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class RunProgress:
    """Progress of a run.

    Attributes:
        short: the progress in a few words, for a list of runs.
        lines: (name, text) of the lines about it.
        figures: the same as JSON.
    """

    short: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)


def duration(seconds: float) -> str:
    """Return a time as text: "40 s", "12 min", "3.5 hours" or "4.2 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} hours" if seconds < 36 * 3600 else f"{seconds / 86400:.1f} days"


def share(done: float, total: float) -> str:
    """Return a share as text, rounded down, so that 100% means all; empty if there is nothing."""
    return f" ({int(100 * done / total)}%)" if total else ""


def number(value: Any) -> float | None:
    """Return a value of a file that should be a number, or None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
