"""Files of one run that are not as they were written do not stop a report on the others."""

import pytest

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report.build import report
from teacherlm_jax.storage import files
from tests.make_run import make_run

NAMES = ("stage1", "stage2", "student_CMF")
PREDICTIONS = "generated.predictions.jsonl"


@pytest.fixture
def answered(runs):
    """The runs of a quickstart, of which three models have answered the same questions."""
    for number, name in enumerate(NAMES):
        rows = [
            {"id": f"q{at}", "digest": f"d{at}", "subject": "", "gold": "A", "prediction": option}
            for at, option in enumerate("A" * (10 + number) + "B" * (20 - number))
        ]
        files.write_jsonl(runs / f"evaluate_{name}" / PREDICTIONS, rows)
        path = runs / f"evaluate_{name}" / "result.json"
        files.write_json(path, files.read_json(path) | {"digest": f"sha256:{name}"})
    return runs


def reported(runs):
    run = make_run(runs / "report")
    result = report(ReportConfig(output="", root=str(runs), title="Toys"), run)
    compared = {name for pair in result["comparisons"] for name in pair["first"] + pair["second"]}
    return compared, result["unfinished"], (run.path / "report.md").read_text()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"subject": "", "prediction": "A", "gold": "A"}', "it lacks id"),
        (b'{"id": "q", "prediction": "A", "gold": "A"}', "it lacks subject"),
        (b'{"id": "q", "subject": "", "gold": "A"}', "it lacks prediction"),
        (b'{"id": 7, "subject": "", "prediction": "A", "gold": "A"}', "id is 7"),
        (b'{"id": "q', "not JSON"),
    ],
)
def test_a_row_of_another_shape_is_named_and_the_others_are_compared(answered, line, problem):
    path = answered / "evaluate_stage1" / PREDICTIONS
    path.write_bytes(path.read_bytes() + line + b"\n")
    compared, _, page = reported(answered)
    assert compared == {"evaluate_stage2", "evaluate_student_CMF"}
    assert f"evaluate_stage1: {PREDICTIONS}:31: {problem}" in page


@pytest.mark.parametrize("run", ["stage2", "evaluate_stage2"])
@pytest.mark.parametrize("name", ["inputs.json", "summary.json"])
@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_malformed_record_of_one_run_is_named_and_the_others_are_reported(
    answered, run, name, content
):
    (answered / run / name).write_text(content)
    compared, unfinished, page = reported(answered)
    assert compared >= {"evaluate_stage1", "evaluate_student_CMF"}
    assert run in unfinished
    assert f"{run}/{name}" in page
