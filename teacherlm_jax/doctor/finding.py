"""Findings: what was examined, the verdict, and what to do about it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

OK, WARNING, PROBLEM, SKIPPED = "ok", "warning", "problem", "skipped"

_VERDICT, _NAME = 9, 17  # widths of columns


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the answer.

    Attributes:
        name: what was examined.
        verdict: OK, WARNING, PROBLEM, or SKIPPED for what could not be examined.
        text: what was found.
        remedy: what to do; empty only if the verdict is OK or SKIPPED.
        figures: the same as JSON.
    """

    name: str
    verdict: str
    text: str
    remedy: str = ""
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)


def text_of(finding: Finding) -> str:
    """Return a finding as a line, and its remedy as a second one."""
    lines = [f"{finding.verdict:<{_VERDICT}}{finding.name:<{_NAME}}  {finding.text}"]
    if finding.remedy:
        lines.append(f"{'':<{_VERDICT + _NAME}}  -> {finding.remedy}")
    return "\n".join(lines)


def summary(findings: Sequence[Finding]) -> str:
    """Return the number of problems and warnings in one line."""
    problems, warnings = (
        sum(one.verdict == verdict for one in findings) for verdict in (PROBLEM, WARNING)
    )
    if not problems and not warnings:
        return "no problems"
    counts = ((problems, "problem"), (warnings, "warning"))
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts if count]
    return ", ".join(parts)
