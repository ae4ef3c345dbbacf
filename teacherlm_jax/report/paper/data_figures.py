"""Our figures for Table 2 of the paper: questions and options of datasets, and their explanations.

An annotation run gives the questions for training and the mean tokens of its explanations. An
evaluation gives the questions for testing and their options. The mean tokens of explanations by
people are those in the data of a student that was trained on them. Evaluations on fewer questions
than the paper's give no figures, nor do annotations that a limit cut short.
"""

import collections
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.config import paper_models
from teacherlm_jax.report import measure
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.paper.counted import EvaluatedBenchmark
from teacherlm_jax.report.paper.standing import Standing
from teacherlm_jax.runs import layout
from teacherlm_jax.sources import p3
from teacherlm_jax.storage import files

HUMAN = "C/human"  # form of a student of one task that learns from explanations by people

Figures = dict[str, float]


def by_dataset(
    standings: Sequence[Standing], evaluated: Sequence[EvaluatedBenchmark]
) -> dict[str, Figures]:
    """Return the figures that runs have for Table 2, by column, by the name of the dataset."""
    figures: dict[str, Figures] = collections.defaultdict(dict)
    annotated = collections.defaultdict(list)
    for one in standings:
        if one.run.verb == "annotate" and not _limited(one):
            annotated[one.name].append(one.run)
        elif one.run.verb == "train" and (task := _task_of_human_texts(one.name)):
            figures[f"data/{task}"] |= _human(one)
    for name, runs in annotated.items():
        figures[name] |= _annotated(runs)
    by_rows = sorted(evaluated, key=lambda one: one.rows, reverse=True)
    for benchmark in by_rows:
        name = f"data/{benchmark.format}"
        if name in paper_models.DATASETS and benchmark.complete:
            figures[name].setdefault("test", benchmark.rows)
            if "options" not in figures[name]:
                figures[name] |= _options(benchmark)
    return {name: own for name, own in figures.items() if own}


def _limited(annotation: Standing) -> bool:
    """Return whether `config.source.limit` leaves out samples that are in the paper's dataset."""
    limit = annotation.run.config.get("source", {}).get("limit", 0)
    of_paper = p3.LIMIT if annotation.name == "data/p3" else math.inf  # for each task of P3
    return 0 < limit < of_paper


def _annotated(runs: Sequence[RunRecord]) -> Figures:
    """Return the samples, and the mean tokens of explanations by kind, of several annotations.

    They are those of several tasks, as of P3. Of annotations of the same samples, such as by
    another teacher, the one with the most samples counts, and for each kind the first that has it.
    """
    by_source = collections.defaultdict(list)
    for run in sorted(runs, key=lambda run: run.result["rows"], reverse=True):
        by_source[_source(run.config)].append(run.result)
    groups = list(by_source.values())
    figures: Figures = {"train": sum(results[0]["rows"] for results in groups)}
    for kind in ("cot", "fundamental", "mistake"):
        of_kind = (
            [one["kinds"][kind] for one in group if kind in one["kinds"]] for group in groups
        )
        parts = [found[0] for found in of_kind if found]
        texts = sum(part["count"] for part in parts)
        if texts:
            figures[kind] = sum(part["count"] * part["mean_tokens"] for part in parts) / texts
    return figures


def _source(annotation: Mapping[str, Any]) -> str:
    """Return what identifies the source of an annotation, given its config."""
    settings = {key: value for key, value in annotation["source"].items() if key != "limit"}
    return repr((annotation.get("root"), sorted(settings.items())))


def _task_of_human_texts(name: str) -> str:
    """Return the task of a student that learns from explanations by people; empty for others."""
    _, _, *training = name.split("/", 3)
    return training[0] if training[1:] == [HUMAN] else ""


def _human(training: Standing) -> Figures:
    """Return the mean tokens of chains of thought in the data of a training; empty if unknown."""
    means = measure.field_means(training.manifest)
    of_texts = [mean for (kind, _), mean in means.items() if kind == "cot"]
    return {"human": of_texts[0]} if of_texts else {}


def _options(benchmark: EvaluatedBenchmark) -> Figures:
    """Return the mean number of options of the questions; empty if they are not recorded."""
    path = benchmark.run.path / layout.predictions(benchmark.name)
    if not files.exists(path):
        return {}
    rows = (row for _, row in files.read_jsonl(path))
    scored = [row["scores"] for row in rows if isinstance(row, dict) and row.get("scores")]
    return {"options": statistics.fmean(map(len, scored))} if scored else {}
