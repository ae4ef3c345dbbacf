"""The section on annotations: how many, how many check out, and some of them in full."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import (
    Block,
    Card,
    Heading,
    Paragraph,
    Subheading,
    SvgFigure,
    Table,
    count,
    percent,
)
from teacherlm_jax.report.collect import RunRecord, label
from teacherlm_jax.report.examples import Example, examples
from teacherlm_jax.runs import layout

KIND_NAMES = {
    "cot": "chain of thought",
    "fundamental": "fundamentals",
    "mistake": "common mistakes",
}

NO_GATES = "no gates"  # stands where a verdict would, in runs that asked for none

_SHOWN = 3


def section(runs: Sequence[RunRecord], root: Path | str) -> list[Block]:
    """Blocks of the section; none when nothing was annotated."""
    done = finished(runs)
    if not done:
        return []
    blocks: list[Block] = [
        Heading("Explanations"),
        Paragraph(
            "A teacher is given a question with its right answer and explains it. Gates check each "
            "text; one that fails is kept, with its verdict beside it. A text that passes has "
            "passed only the gates that are named."
        ),
    ]
    for run in done:
        blocks += [Subheading(run.name), *_figure(run), _table(run, root)]
        blocks += [_card(example, run) for example in examples(run.path / layout.SAMPLES, _SHOWN)]
    return blocks


def finished(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The annotations that came to their end."""
    return [run for run in runs if run.verb == "annotate" and run.finished]


def gate_shares(found: Mapping[str, Any]) -> dict[str, str]:
    """Of a result's kind, the per cent that pass each gate, and all of them, by column title."""
    if found["passed_all_gates"] is None:
        return {"all gates": NO_GATES}
    shares = {
        gate.replace("_", " "): percent(passed / found["count"])
        for gate, passed in found["gates"].items()
    }
    return {**shares, "all gates": percent(found["passed_all_gates"] / found["count"])}


def verdict(gates: Mapping[str, bool]) -> str:
    """Return the verdicts on one text in words, naming the gates that ran."""
    if not gates:
        return NO_GATES
    failed = [gate.replace("_", " ") for gate, passed in gates.items() if not passed]
    if failed:
        return f"fails: {', '.join(failed)}"
    return f"passes: {', '.join(gate.replace('_', ' ') for gate in gates)}"


def _figure(run: RunRecord) -> list[Block]:
    shares = [
        (
            KIND_NAMES[kind],
            {gate.replace("_", " "): n / found["count"] for gate, n in found["gates"].items()},
        )
        for kind, found in run.result["kinds"].items()
    ]
    if not shares[0][1]:  # the run asked for no gate
        return []
    said = "; ".join(
        f"{kind}: " + ", ".join(f"{gate} {percent(share)} %" for gate, share in gates.items())
        for kind, gates in shares
    )
    return [
        SvgFigure(
            name=f"gates-{run.name.replace('/', '-')}",
            svg=figures.share_bars(shares),
            caption=f"Share of the texts in {run.name} that pass each gate, by kind.",
            description=f"Share of texts that pass each gate. {said}",
        )
    ]


def _table(run: RunRecord, root: Path | str) -> Table:
    kinds = run.result["kinds"]
    gates = list(gate_shares(next(iter(kinds.values()))))
    rows = []
    for kind, found in kinds.items():
        written = (count(found["count"]), f"{found['mean_tokens']:.1f}")
        teacher = label(found["teacher"], root)
        rows.append((KIND_NAMES[kind], teacher, *written, *gate_shares(found).values()))
    return Table(
        f"Explanations in {run.name}; per cent that pass each gate, and mean length in tokens. "
        f"Samples: {count(run.result['rows'])}; rows refused: {count(run.result['refused'])}.",
        ("kind", "teacher", "texts", "tokens", *gates),
        tuple(rows),
        left=(0, 1),
    )


def _card(example: Example, run: RunRecord) -> Card:
    parts = [("question", example.question), ("answer", example.answer)]
    for kind in KINDS:
        if kind in example.written:
            text, gates = example.written[kind]
            parts.append((f"{KIND_NAMES[kind]} · {verdict(gates)}", text or "(nothing)"))
    return Card(f"Sample {example.id} in {run.name}", tuple(parts))
