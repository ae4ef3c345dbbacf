"""Outcomes of the runs of a study, read from their run folders into plain values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teacherlm_jax.pipelines.evidence_steps import study, study_students
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

Row = dict[str, Any]


def students(root: Path) -> list[Row]:
    """Return a row for each finished student below `root`, ordered by arm, amount and seed.

    `curve` has [step, accuracy] of each validation, and `tokens` counts those of all steps without
    padding; `pass_tokens` are those of one pass over its `samples`.
    """
    return sorted(_students(root), key=lambda row: (row["arm"], row["amount"], row["seed"]))


def _students(root: Path) -> Iterator[Row]:
    for folder, result in _finished(root / "student"):
        arm, amount, seed = folder.parts[-3:]
        data = root / study_students.data_of(arm, amount, seed)
        prepared = files.read_json(data.parent / layout.RESULT)["mixtures"][arm]
        yield {
            "arm": arm,
            "amount": int(amount),
            "seed": study.seed_of(seed),
            "curve": curve(folder, "test"),
            "samples": prepared["texts"],
            "pass_tokens": prepared["tokens"],
            **{key: result[key] for key in ("steps", "tokens", "parameters", "seconds")},
        }


def teachers(root: Path) -> list[Row]:
    """Return a row for each finished teacher below `root`, with two accuracies."""
    return sorted(_teachers(root), key=lambda row: (row["size"], row["stage"], row["seed"]))


def _teachers(root: Path) -> Iterator[Row]:
    for folder, result in _finished(root / "teacher"):
        size, stage, seed = folder.parts[-3:]
        yield {
            "size": size,
            "stage": stage,
            "seed": study.seed_of(seed),
            **{name: curve(folder, name)[-1][1] for name in ("trained", "unseen")},
            **{key: result[key] for key in ("steps", "tokens", "parameters", "seconds")},
        }


def writers(root: Path, kind: str) -> list[Row]:
    """Return a row for each finished annotation below `root`: correct explanations, by kind.

    `kind` is that of the steps: "explain", or "write" for the explanations that students read.
    """
    return sorted(_writers(root / kind), key=lambda row: (row["size"], row["writer"], row["seed"]))


def _writers(root: Path) -> Iterator[Row]:
    for folder, result in _finished(root):
        size, writer, seed = folder.parts[-3:]
        correct = {
            kind: figures["gates"]["synthetic"] / figures["count"]
            for kind, figures in result["kinds"].items()
        }
        yield {"size": size, "writer": writer, "seed": study.seed_of(seed), "correct": correct}


def curve(folder: Path, benchmark: str) -> list[tuple[int, float]]:
    """Return (step, accuracy on a benchmark) of each validation of a training."""
    rows = (row for _, row in files.read_jsonl(folder / layout.VALIDATION))
    return [(row["step"], row[f"{benchmark}/accuracy"]) for row in rows]


def _finished(root: Path) -> Iterator[tuple[Path, Row]]:
    """Yield the run folders three levels below `root` that have a result, with the result."""
    for path in sorted(root.glob(f"*/*/*/{layout.RESULT}")):
        yield path.parent, files.read_json(path)
