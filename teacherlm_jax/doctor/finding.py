"""Findings: what was looked at, whether it is well, and what to do about it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

OK, WARNING, PROBLEM, SKIPPED = "ok", "warning", "problem", "skipped"
GIB = 2**30

_WIDTH = 9  # of a verdict


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the answer.

    Attributes:
        name: what was looked at.
        verdict: OK, WARNING, PROBLEM, or SKIPPED for what could not be looked at.
        text: what was found.
        remedy: what to do; empty only if the verdict is OK or SKIPPED.
        figures: the same as JSON.
    """

    name: str
    verdict: str
    text: str
    remedy: str = ""
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)


def text_of(findings: Sequence[Finding]) -> str:
    """Return the findings as a table, with a line that sums them up."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for one in findings:
        lines.append(f"{one.verdict:<{_WIDTH}}{one.name:<{width}}  {one.text}")
        if one.remedy:
            lines.append(f"{'':<{_WIDTH + width}}  -> {one.remedy}")
    return "\n".join((*lines, "", summary(findings)))


def summary(findings: Sequence[Finding]) -> str:
    """Return the number of problems and warnings in one line."""
    problems, warnings = (
        sum(one.verdict == verdict for one in findings) for verdict in (PROBLEM, WARNING)
    )
    if not problems and not warnings:
        return "everything is well"
    counts = ((problems, "problem"), (warnings, "warning"))
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts if count]
    return ", ".join(parts)
