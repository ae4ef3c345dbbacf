"""Answers of evaluated models, matched by the id and the digest of each question."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from teacherlm_jax.report import result_shapes
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files

QuestionKey = tuple[str, str]  # id and digest

_ROW = {"id": str, "subject": str, "prediction": str}


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """The answers of one evaluation to one benchmark.

    Attributes:
        run: the evaluation.
        benchmark: name of the benchmark in it.
        keys: ids and digests of the questions; equal tuples are one object.
        subjects: subject of each question.
        right: whether each question was answered right.
    """

    run: RunRecord
    benchmark: str
    keys: tuple[QuestionKey, ...]
    subjects: tuple[str, ...]
    right: Bool[np.ndarray, " questions"]


def read_all(runs: Sequence[RunRecord]) -> tuple[list[Answers], list[str]]:
    """Read the answers of all finished evaluations.

    Returns the answers, and a sentence for each benchmark of a run whose answers cannot be matched
    with those of other runs.
    """
    all_answers, problems = [], []
    same: dict[Any, Any] = {}  # one object for equal tuples: runs share their questions
    for run in runs:
        if run.verb != "evaluate" or not run.finished:
            continue
        inputs = run.path / layout.INPUTS
        digests = files.read_json(inputs) if inputs.exists() else {}
        for benchmark in run.result["benchmarks"]:
            rows, problem = _rows(run, benchmark)
            if problem:
                problems.append(problem)
                continue
            of_file = digests.get(f"benchmarks.{benchmark}", "")
            keys = tuple(_key(row, of_file) for row in rows)
            if not all(digest for _, digest in keys):
                problems.append(
                    f"{run.name}: {layout.predictions(benchmark)} is of an earlier version, "
                    "without digests of the questions; evaluate again into another folder"
                )
                continue
            subjects = tuple(row["subject"] for row in rows)
            right = np.array([row["prediction"] == row["gold"] for row in rows], bool)
            keys, subjects = same.setdefault(keys, keys), same.setdefault(subjects, subjects)
            if rows:
                all_answers.append(Answers(run, benchmark, keys, subjects, right))
    return all_answers, problems


def _rows(run: RunRecord, benchmark: str) -> tuple[list[Mapping[str, Any]], str]:
    """Return the rows of a benchmark whose right option is known, and why they cannot be used."""
    name = layout.predictions(benchmark)
    path = run.path / name
    if not path.exists():
        return [], f"{run.name}: has no {name}"
    rows: list[Mapping[str, Any]] = []
    for line, row in files.read_jsonl(path):
        malformed = row.reason if isinstance(row, files.MalformedRow) else ""
        if problem := malformed or result_shapes.difference(row, _ROW):
            return [], f"{run.name}: {name}:{line}: {problem}; evaluate again into another folder"
        if isinstance(row, dict) and row.get("gold"):
            rows.append(row)
    return rows, ""


def _key(row: Mapping[str, Any], of_file: str) -> QuestionKey:
    """Return the key of a row; rows of earlier versions have the digest of their whole file."""
    return row["id"], row.get("digest") or of_file


def on_same_questions(all_answers: Iterable[Answers]) -> list[list[Answers]]:
    """Group answers to sets of questions that share at least one question, in order."""
    groups: list[list[Answers]] = []
    group_of: dict[QuestionKey, list[Answers]] = {}
    for one in all_answers:
        touched = {id(group): group for key in one.keys if (group := group_of.get(key)) is not None}
        if len(touched) == 1 and one.keys is next(iter(touched.values()))[0].keys:
            next(iter(touched.values())).append(one)
            continue
        merged = [entry for group in touched.values() for entry in group] + [one]
        groups = [group for group in groups if id(group) not in touched] + [merged]
        group_of |= {key: merged for entry in merged for key in entry.keys}
    return groups


def shared(
    all_answers: Sequence[Answers],
) -> tuple[list[Bool[np.ndarray, " questions"]], tuple[str, ...]]:
    """Return each model's answers to the questions that all have, and their subjects."""
    first = all_answers[0]
    if all(one.keys is first.keys for one in all_answers):
        return [one.right for one in all_answers], first.subjects
    common = set(first.keys).intersection(*(one.keys for one in all_answers[1:]))
    order = [key for key in dict.fromkeys(first.keys) if key in common]
    tables = []
    for one in all_answers:
        place = {key: index for index, key in enumerate(one.keys)}
        tables.append(one.right[[place[key] for key in order]])
    subject = dict(zip(first.keys, first.subjects, strict=True))
    return tables, tuple(subject[key] for key in order)
