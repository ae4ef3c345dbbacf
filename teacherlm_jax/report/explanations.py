"""The section on annotations: how many, how many check out, and some of them in full."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax import files
from teacherlm_jax.data.sample import KINDS, LETTERS
from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import Block, Card, Figure, Heading, Paragraph, Subheading, Table
from teacherlm_jax.report.collect import FoundRun, label
from teacherlm_jax.report.words import count, percent

KIND_NAMES = {
    "cot": "chain of thought",
    "fundamental": "fundamentals",
    "mistake": "common mistakes",
}

_SHOWN = 3


def section(runs: Sequence[FoundRun], root: Path | str) -> list[Block]:
    """Blocks of the section; none when nothing was annotated."""
    done = [run for run in runs if run.verb == "annotate" and run.finished]
    if not done:
        return []
    blocks: list[Block] = [
        Heading("Explanations"),
        Paragraph(
            "A teacher is given a question with its right answer and writes why. Gates are "
            "yes-or-no checks of each text; one that fails is kept, with the verdict beside it."
        ),
    ]
    for run in done:
        blocks += [Subheading(run.name), *_figure(run), _table(run, root), *_cards(run)]
    return blocks


def _shares(run: FoundRun) -> list[tuple[str, dict[str, float]]]:
    return [
        (
            KIND_NAMES[kind],
            {gate.replace("_", " "): n / found["count"] for gate, n in found["gates"].items()},
        )
        for kind, found in run.result["kinds"].items()
    ]


def _figure(run: FoundRun) -> list[Block]:
    shares = _shares(run)
    if not shares[0][1]:  # the run asked for no gate
        return []
    said = "; ".join(
        f"{kind}: " + ", ".join(f"{gate} {percent(share)} %" for gate, share in gates.items())
        for kind, gates in shares
    )
    return [
        Figure(
            name=f"gates-{run.name.replace('/', '-')}",
            svg=figures.share_bars(shares),
            caption=f"Share of the texts in {run.name} that pass each gate, by kind.",
            description=f"Share of texts that pass each gate. {said}",
        )
    ]


def _table(run: FoundRun, root: Path | str) -> Table:
    kinds = run.result["kinds"]
    gates = list(next(iter(kinds.values()))["gates"])
    rows = []
    for kind, found in kinds.items():
        passed = [percent(found["gates"][gate] / found["count"]) for gate in gates]
        written = (count(found["count"]), f"{found['mean_tokens']:.1f}")
        rows.append((KIND_NAMES[kind], label(found["teacher"], root), *written, *passed))
    return Table(
        f"Explanations in {run.name}; per cent that pass each gate, and mean length in tokens. "
        f"Samples: {count(run.result['rows'])}; rows refused: {count(run.result['refused'])}.",
        ("kind", "teacher", "texts", "tokens", *(gate.replace("_", " ") for gate in gates)),
        tuple(rows),
        left=(0, 1),
    )


def _cards(run: FoundRun) -> list[Block]:
    """Samples spread evenly over the run's first shard."""
    shards = sorted((run.path / "samples").glob("part-*.jsonl"))
    if not shards:
        return []
    rows = [row for _, row in files.read_jsonl(shards[0]) if isinstance(row, dict)]
    last = len(rows) - 1
    places = sorted({round(last * step / (_SHOWN - 1)) for step in range(_SHOWN)})
    return [_card(rows[place], run) for place in places]


def _card(row: dict[str, Any], run: FoundRun) -> Card:
    options = " ".join(f"({a}) {o}" for a, o in zip(LETTERS, row["options"], strict=False))
    answer = row["answer"]
    if row["options"]:
        answer += f" {row['options'][LETTERS.index(answer[1])]}"
    parts = [("question", f"{row['question']} {options}".strip()), ("answer", answer)]
    for kind in KINDS:
        if made := row["annotations"].get(kind):
            failed = [
                gate.replace("_", " ") for gate, passed in made["gates"].items() if not passed
            ]
            verdict = f"fails: {', '.join(failed)}" if failed else "passes all gates"
            text = row["explanations"][kind][made["author"]]
            parts.append((f"{KIND_NAMES[kind]} · {verdict}", text or "(nothing)"))
    return Card(f"Sample {row['id']} in {run.name}", tuple(parts))
