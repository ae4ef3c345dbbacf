"""Evaluations with a manifest show the accuracy with and without contaminated questions."""

import pytest

from teacherlm_jax.report import flagged_questions
from teacherlm_jax.report.blocks import Cell, Table
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.storage import files


def _table(runs) -> Table | None:
    blocks = flagged_questions.section(Lineage(find_runs(runs, runs / "report")), str(runs))
    return next((block for block in blocks if isinstance(block, Table)), None)


def _look(runs, **figures):
    path = runs / "evaluate_stage1" / "result.json"
    result = files.read_json(path)
    result["benchmarks"]["generated"]["contamination"] = figures
    files.write_json(path, result)


def test_without_a_manifest_there_is_no_section(runs):
    assert _table(runs) is None


def test_accuracies_with_and_without_flagged_questions_are_in_one_row(runs):
    clean = {"rows": 600, "accuracy": 0.35, "interval": [0.31, 0.39]}
    _look(runs, flagged=200, not_compared=3, flagged_accuracy=0.59, clean=clean)
    (row,) = _table(runs).rows
    assert row == (
        *("stage1", Cell("35.0", beside="31.0 to 39.0"), "generated", "800", "41.0", "200"),
        *("59.0", "3", "evaluate_stage1"),
    )


def test_a_model_of_a_moved_folder_has_the_name_of_its_training_run(runs, tmp_path):
    _look(runs, flagged=200, not_compared=3, flagged_accuracy=0.59, clean=None)
    (row,) = _table(runs.rename(tmp_path / "moved")).rows
    assert row[0] == "stage1"


@pytest.mark.parametrize(
    ("figures", "cells"),
    [
        ({"flagged": 800, "flagged_accuracy": 0.41, "clean": None}, ("–", "800", "41.0")),
        (
            {"flagged": 0, "flagged_accuracy": None,
             "clean": {"rows": 800, "accuracy": 0.41, "interval": [0.376, 0.44]}},
            (Cell("41.0", beside="37.6 to 44.0"), "0", "–"),
        ),
    ],
)  # fmt: skip
def test_a_benchmark_of_only_flagged_or_no_flagged_questions_has_a_dash(runs, figures, cells):
    _look(runs, not_compared=0, **figures)
    (row,) = _table(runs).rows
    assert (row[1], *row[5:7]) == cells


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"clean": {"rows": 600}}, "lacks benchmarks.generated.contamination.clean.accuracy"),
        ({"clean": 0.35}, "contamination.clean is not an object"),
        ({"flagged_accuracy": "0.59"}, "contamination.flagged_accuracy is '0.59'"),
    ],
)
def test_a_result_with_other_figures_of_contamination_is_named(runs, changed, problem):
    _look(
        runs,
        **{"flagged": 200, "not_compared": 3, "flagged_accuracy": None, "clean": None} | changed,
    )
    assert _table(runs) is None
    found = {run.name: run.problem for run in find_runs(runs, runs / "report")}
    assert problem in found["evaluate_stage1"]
