"""Summary of a finished job as text: its files, what passed which gate, and the next commands."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.annotation.endpoint.endpoint_client import REFUSED
from teacherlm_jax.runs import layout


def summary(address: epath.Path, result: Mapping[str, Any]) -> str:
    """Return the text.

    Args:
        address: the run folder.
        result: `rows`, `refused` and `kinds`, as in `result.json`.
    """
    kinds, refused = result["kinds"], result["refused"]
    rows = f"{result['rows']} explained"
    if refused:
        rows += f", {refused} refused; the reasons are in {address / layout.REFUSED}"
    samples = f"{address / layout.SAMPLES}/*.jsonl"
    lines = [
        ("rows", rows),
        ("explained samples", samples),
        ("explanations", f"{address / layout.TEXTS}/{_one_of(kinds)}/*.jsonl"),
    ]
    following = [
        ("write a dataset", f"teacherlm convert {shlex.quote(str(address))} FOLDER"),
        ("train on it", f"teacherlm prepare --config=FILE.py, with a source of path={samples!r}"),
    ]
    parts = (
        ["finished", *_aligned(lines)],
        _aligned(_figures(kinds)),
        ["next", *_aligned(following)],
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _one_of(kinds: Iterable[str]) -> str:
    """Return names as a pattern of the shell, such as "{cot,mistake}"."""
    names = ",".join(kinds)
    return f"{{{names}}}" if "," in names else names


def _figures(kinds: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a table with a column for each kind of explanation."""
    every = kinds.values()
    table = [
        ("", *kinds),
        ("explanations", *(str(kind["count"]) for kind in every)),
        ("truncated", *(str(kind["finish_reasons"].get("length", 0)) for kind in every)),
    ]
    if any(REFUSED in kind["finish_reasons"] for kind in every):
        counts = (kind["finish_reasons"].get(REFUSED, 0) for kind in every)
        table.append(("refused by the server", *map(str, counts)))
    for key, name in (("prompt_tokens", "prompt tokens"), ("new_tokens", "new tokens")):
        if any(key in kind for kind in every):
            table.append((name, *(f"{kind[key]:,}" if key in kind else "" for kind in every)))
    if any(kind.get("cost") is not None for kind in every):
        costs = (kind.get("cost") for kind in every)
        table.append(("cost", *("" if cost is None else f"{cost:,.4f}" for cost in costs)))
    gates = dict.fromkeys(gate for kind in every for gate in kind["gates"])
    for gate in gates:
        table.append((f"passed {gate}", *(_passed(kind, gate) for kind in every)))
    if gates:
        counts = (kind["passed_all_gates"] for kind in every)
        table.append(("passed all gates", *map(str, counts)))
    else:
        table.append(("not checked by any gate", *("" for _ in kinds)))
    return table


def _passed(kind: Mapping[str, Any], gate: str) -> str:
    """Return how many texts passed a gate, and of how many if some have no verdict."""
    passed, judged = kind["gates"].get(gate), kind.get("judged", {}).get(gate, kind["count"])
    if passed is None:
        return ""
    if not judged:
        return "no verdict"
    return str(passed) if judged == kind["count"] else f"{passed} of {judged}"


def _aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the rows of a table as indented lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = (zip(row, widths, strict=True) for row in table)
    return [
        ("  " + "  ".join(f"{cell:<{width}}" for cell, width in row)).rstrip() for row in padded
    ]
