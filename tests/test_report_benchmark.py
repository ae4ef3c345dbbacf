"""The runs of `make bench-report` are finished runs, with all that a report shows of trainings."""

import pytest

from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report.build import report
from tests.make_run import make_run

pytest.importorskip("playwright", reason="playwright is not installed")
from benchmarks import finished_runs
from benchmarks import report as benchmark


def test_the_runs_are_finished_and_fill_every_section_on_trainings(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "RUNS", 4)
    monkeypatch.setattr(benchmark, "POINTS", 40)
    benchmark.write_trainings(tmp_path / "runs", 2)
    run = make_run(tmp_path / "report")
    result = report(ReportConfig(output="", root=str(tmp_path / "runs")), run)
    assert result["runs"] == {"train": 4}
    assert not (result["unfinished"] or result["changed"] or result["not_compared"])
    page = (run.path / "report.md").read_text()
    for heading in ("Training", "Sweeps and other groups of runs", "Costs", "Runs"):
        assert f"## {heading}\n" in page
    drawn = {path.name for path in (run.path / "figures").iterdir()}
    assert {"loss-1.svg", "loss-2.svg", "validation-held_out-loss-1.svg"} <= drawn


def test_the_samples_are_those_of_an_annotation(tmp_path):
    finished_runs.write_annotation(tmp_path / "annotate", 5)
    run = make_run(tmp_path / "report")
    result = report(ReportConfig(output="", samples=(str(tmp_path / "annotate"),)), run)
    assert (result["samples"], result["explanations"]) == (5, 15)
