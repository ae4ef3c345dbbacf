"""Outcomes of the runs of a study, read from their run folders into plain values."""

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teacherlm_jax.pipelines.evidence_steps import study, study_real, study_students
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

Row = dict[str, Any]


def students(root: Path) -> list[Row]:
    """Return a row for each finished student below `root`, ordered by arm, amount and seed.

    `curve` has [step, accuracy] of each validation, and `tokens` counts those of all steps without
    padding; `pass_tokens` are those of one pass over its texts, which `samples` counts.
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


def real(root: Path) -> list[Row]:
    """Return a row for each finished student on real samples and each benchmark.

    `amount` counts the training samples, `samples` those whose texts are not too long for the arm,
    and `questions` those of the benchmark; `majority` is the share of its most frequent answer.
    """
    return sorted(_real(root), key=lambda row: (row["arm"], row["benchmark"], row["seed"]))


def _real(root: Path) -> Iterator[Row]:
    runs = [*_finished(root / study_real.PART, depth=2)]
    if not runs:
        return
    written = root / "samples" / study_real.PART
    amount = sum(1 for _ in files.read_jsonl(written / "train.jsonl"))
    asked = {name: _asked(written / f"{name}.jsonl") for name in study_real.BENCHMARKS}
    for folder, result in runs:
        arm, seed = folder.parts[-2:]
        prepared = files.read_json(root / "real_data" / layout.RESULT)["mixtures"][arm]
        for name, figures in asked.items():
            yield {
                "arm": arm,
                "benchmark": name,
                "seed": study.seed_of(seed),
                "curve": curve(folder, name),
                "amount": amount,
                "samples": prepared["texts"],
                "pass_tokens": prepared["tokens"],
                **figures,
                **{key: result[key] for key in ("steps", "tokens", "parameters", "seconds")},
            }


def _asked(path: Path) -> Row:
    """Return the number of questions of a file, and the share of its most frequent answer."""
    answers = collections.Counter(row["answer"] for _, row in files.read_jsonl(path))
    return {"questions": answers.total(), "majority": max(answers.values()) / answers.total()}


def curve(folder: Path, benchmark: str) -> list[tuple[int, float]]:
    """Return (step, accuracy on a benchmark) of each validation of a training."""
    rows = (row for _, row in files.read_jsonl(folder / layout.VALIDATION))
    return [(row["step"], row[f"{benchmark}/accuracy"]) for row in rows]


def _finished(root: Path, depth: int = 3) -> Iterator[tuple[Path, Row]]:
    """Yield the run folders `depth` levels below `root` that have a result, with the result."""
    for path in sorted(root.glob(f"{'*/' * depth}{layout.RESULT}")):
        yield path.parent, files.read_json(path)
