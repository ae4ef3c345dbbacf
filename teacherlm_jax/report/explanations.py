"""The section on annotations: how many texts, how many pass the gates, and samples in full."""

from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import (
    NO_FIGURE,
    Block,
    Card,
    CardColumns,
    Figure,
    Heading,
    Paragraph,
    Subheading,
    Table,
    count,
    percent,
)
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.examples import Example, examples
from teacherlm_jax.runs import layout

KIND_NAMES = {
    "cot": "chain of thought",
    "fundamental": "fundamentals",
    "mistake": "common mistakes",
}

NO_GATES = "no gates"  # shown instead of a verdict if a run had no gates

_EXAMPLES = 10  # of each annotation run; up to half of them have a text that fails a gate


def section(runs: Sequence[RunRecord], root: epath.PathLike) -> list[Block]:
    """Return the blocks of the section, none if nothing was annotated."""
    done = finished(runs)
    if not done:
        return []
    blocks: list[Block] = [
        Heading("Explanations"),
        Paragraph(
            "The teacher explains questions whose correct answer it is given. Gates check each "
            "text. A text that fails a gate is kept, with the verdict. A text that passes has "
            "passed the named gates only."
        ),
    ]
    for run in done:
        blocks += [Subheading(run.name), *_figure(run), _table(run, root)]
        blocks += _samples(run)
    return blocks


def _samples(run: RunRecord) -> list[Block]:
    """Return samples in full, those with a text that fails a gate beside those that pass all."""
    chosen = examples(run.path / layout.SAMPLES, _EXAMPLES, failing=_EXAMPLES // 2)
    passing = tuple(_card(example, run) for example in chosen if not example.fails)
    failing = tuple(_card(example, run) for example in chosen if example.fails)
    if not failing:
        return list(passing)
    columns = (("Every text passes its gates", passing), ("A text fails a gate", failing))
    return [CardColumns(tuple(column for column in columns if column[1]))]


def finished(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the finished annotation runs."""
    return [run for run in runs if run.verb == "annotate" and run.finished]


def gate_shares(kind: Mapping[str, Any]) -> dict[str, str]:
    """Return the per cent of a kind's texts that pass each gate and all gates, by column title."""
    if kind["passed_all_gates"] is None:
        return {"all gates": NO_GATES}
    shares = {
        gate.replace("_", " "): NO_FIGURE if share is None else percent(share)
        for gate, share in _shares(kind).items()
    }
    return {**shares, "all gates": percent(kind["passed_all_gates"] / kind["count"])}


def _shares(kind: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the share of a kind's judged texts that pass each gate; None: it judged no text."""
    judged = dict.fromkeys(kind["gates"], kind["count"]) | kind.get("judged", {})
    return {
        gate: passed / judged[gate] if judged[gate] else None
        for gate, passed in kind["gates"].items()
    }


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
            {
                gate.replace("_", " "): share
                for gate, share in _shares(own).items()
                if share is not None
            },
        )
        for kind, own in run.result["kinds"].items()
    ]
    if not any(own for _, own in shares):  # the run had no gates
        return []
    description = "; ".join(
        f"{kind}: " + ", ".join(f"{gate} {percent(share)}%" for gate, share in gates.items())
        for kind, gates in shares
    )
    return [
        Figure(
            name=f"gates-{run.name.replace('/', '-')}",
            drawing=figures.share_dots(shares),
            caption=f"Share of the texts in {run.name} that pass each gate, by kind.",
            description=f"Share of texts that pass each gate. {description}",
        )
    ]


def _table(run: RunRecord, root: epath.PathLike) -> Table:
    kinds = run.result["kinds"]
    gates = list(gate_shares(next(iter(kinds.values()))))
    rows = []
    for kind, figures_ in kinds.items():
        texts = (count(figures_["count"]), f"{figures_['mean_tokens']:.1f}")
        teacher = run.input_label(f"teachers.{kind}", figures_["teacher"], root)
        rows.append((KIND_NAMES[kind], teacher, *texts, *gate_shares(figures_).values()))
    return Table(
        f"Explanations in {run.name}: texts, mean tokens per text, and per cent that pass each "
        f"gate. Samples: {count(run.result['rows'])}; "
        f"refused rows: {count(run.result['refused'])}.",
        ("kind", "teacher", "texts", "mean tokens", *gates),
        tuple(rows),
        left=(0, 1),
    )


def _card(example: Example, run: RunRecord) -> Card:
    parts = [("question", example.question), ("answer", example.answer)]
    for kind in KINDS:
        if kind in example.written:
            text, gates = example.written[kind]
            parts.append((f"{KIND_NAMES[kind]} · {verdict(gates)}", text or "(empty)"))
    return Card(f"Sample {example.id} in {run.name}", tuple(parts))
