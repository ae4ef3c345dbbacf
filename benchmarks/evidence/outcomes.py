"""Outcomes of the runs of a study, read from their run folders into plain values."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.evidence_steps import (
    study,
    study_real,
    study_students,
    study_teachers,
)
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

Row = dict[str, Any]
Runs = Sequence[Mapping[str, Any]]
Rows = Mapping[str, list[Mapping[str, Any]]]  # outcomes by kind
# `bases` are students of the part `students` that another part has trained again beside its own.
KINDS = ("students", "bases", "teachers", "explained", "written", "real")


@dataclasses.dataclass(frozen=True)
class _Reader:
    """How to read the outcomes of one kind of run.

    Attributes:
        kind: kind of its rows, one of KINDS.
        depth: folders between that of the kind and a run.
        read: function that returns the rows of a run from the folder of the study and its own.
    """

    kind: str
    depth: int
    read: Callable[[Path, Path], list[Row]]


def below(root: Path, seeds: Collection[int]) -> Rows:
    """Return the outcomes of all finished runs below `root` that have one of these seeds."""
    folders = [
        path.parent
        for word, reader in _READERS.items()
        for path in root.glob(f"{word}/{'*/' * reader.depth}{layout.RESULT}")
    ]
    return of_runs(root, [one for one in folders if study.seed_of(one.name) in seeds])


def of_runs(root: Path, folders: Iterable[Path]) -> Rows:
    """Return the outcomes of finished runs, in the order of their folders.

    Folders of preparations have none.

    Raises UserError if a file of a run cannot be read.
    """
    rows: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    for folder in sorted(folders):
        reader = _READERS.get(folder.relative_to(root).parts[0])
        if reader is not None:
            rows[reader.kind] += reader.read(root, folder)
    return rows


def added(part: str, rows: Rows) -> Rows:
    """Return the outcomes that a part adds to those of the other parts.

    `bases` has the reference arm that was trained with this part, if it has one.
    """
    sizes = study_teachers.PARTS.get(part, ())
    writers = study_teachers.writers_of(part)
    stages = study_teachers.stages_of(writers)
    arms = study_students.ADDED.get(part, ())
    base = study_students.BASES.get(part)
    amounts = study_students.amounts_of(part)
    students = [row for row in rows["students"] if row["amount"] in amounts]
    return {
        "students": [row for row in students if row["arm"] in arms],
        "bases": [row | {"part": part} for row in students if row["arm"] == base],
        "teachers": [
            row for row in rows["teachers"] if row["size"] in sizes and row["stage"] in stages
        ],
        "explained": [
            row for row in rows["explained"] if row["size"] in sizes and row["writer"] in writers
        ],
        "written": rows["written"] if part == "taught" else [],
        "real": rows["real"] if part == study_real.PART else [],
    }


def _student(root: Path, folder: Path) -> list[Row]:
    """Return the row of a student.

    `curve` has [step, accuracy] of each validation, and `tokens` counts those of all steps without
    padding; `pass_tokens` are those of one pass over its `texts`.
    """
    arm, amount, seed = folder.parts[-3:]
    data = root / study_students.data_of(arm, amount, seed)
    return [
        {
            "arm": arm,
            "amount": int(amount),
            "seed": study.seed_of(seed),
            "curve": curve(folder, "test"),
            **_prepared(data.parent, arm),
            **_trained(folder),
        }
    ]


def _prepared(folder: Path, arm: str) -> Row:
    """Return the number of texts and tokens of the data of an arm."""
    mixture = files.read_json(folder / layout.RESULT)["mixtures"][arm]
    return {"texts": mixture["texts"], "pass_tokens": mixture["tokens"]}


def _trained(folder: Path) -> Row:
    """Return the figures of a training that all kinds of outcomes have."""
    result = files.read_json(folder / layout.RESULT)
    return {key: result[key] for key in ("steps", "tokens", "parameters", "seconds")}


def _teacher(root: Path, folder: Path) -> list[Row]:
    """Return the row of a teacher, with its accuracy on trained and on held-out families."""
    size, stage, seed = folder.parts[-3:]
    return [
        {
            "size": size,
            "stage": stage,
            "seed": study.seed_of(seed),
            **{name: curve(folder, name)[-1][1] for name in ("trained", "unseen")},
            **_trained(folder),
        }
    ]


def _writer(root: Path, folder: Path) -> list[Row]:
    """Return the row of an annotation: the share of correct explanations, by kind."""
    size, writer, seed = folder.parts[-3:]
    correct = {
        kind: figures["gates"]["synthetic"] / figures["count"]
        for kind, figures in files.read_json(folder / layout.RESULT)["kinds"].items()
    }
    return [{"size": size, "writer": writer, "seed": study.seed_of(seed), "correct": correct}]


def _real(root: Path, folder: Path) -> list[Row]:
    """Return a row for each benchmark of a student on real samples.

    `amount` counts the training samples, `texts` those that are not too long for the arm, and
    `questions` those of the benchmark; `majority` is the share of its most frequent answer.
    `digests` are those of the files of samples and questions.
    """
    arm, seed = folder.parts[-2:]
    samples = root / "samples" / study_real.PART
    trained_on = _answers(samples / "train.jsonl")
    rows = []
    for name in study_real.BENCHMARKS:
        asked = _answers(samples / f"{name}.jsonl")
        rows.append(
            {
                "arm": arm,
                "benchmark": name,
                "seed": study.seed_of(seed),
                "curve": curve(folder, name),
                "amount": trained_on.count,
                "questions": asked.count,
                "majority": asked.most / asked.count,
                "digests": [trained_on.digest, asked.digest],
                **_prepared(root / f"{study_real.PART}_data", arm),
                **_trained(folder),
            }
        )
    return rows


_READERS = {
    "student": _Reader("students", 3, _student),
    "teacher": _Reader("teachers", 3, _teacher),
    "explain": _Reader("explained", 3, _writer),
    "write": _Reader("written", 3, _writer),
    study_real.PART: _Reader("real", 2, _real),
}


@dataclasses.dataclass(frozen=True)
class _Answers:
    """The answers of a file of samples: how many, how many of the most frequent, and its digest."""

    count: int
    most: int
    digest: str


@functools.cache  # several runs have the same file, which is written once
def _answers(path: Path) -> _Answers:
    counts = collections.Counter(row["answer"] for row in _read_rows(path))
    return _Answers(counts.total(), max(counts.values()), files.file_digest(path))


def curve(folder: Path, benchmark: str) -> list[tuple[int, float]]:
    """Return (step, accuracy on a benchmark) of each validation of a training."""
    rows = _read_rows(folder / layout.VALIDATION)
    return [(row["step"], row[f"{benchmark}/accuracy"]) for row in rows]


def _read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a jsonl file; raises UserError for a line that is not one."""
    for number, row in files.read_jsonl(path):
        if isinstance(row, files.MalformedRow):
            raise UserError(
                f"{path}:{number}: {row.reason}; delete {path.parent} and repeat the command"
            )
        yield row
