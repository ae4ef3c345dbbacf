"""The training of a model is found by path, by digest, or by the output that it recorded."""

import shutil

import pytest

from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import ReportConfig
from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.report import comparison_tables, comparisons
from teacherlm_jax.report.build import comparison_text, report
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.lineage import Lineage
from tests.make_run import make_run
from tests.report.answered import CMF, TEXT, change
from tests.report.trained_runs import evaluate, record, save, train, training_of


@pytest.mark.parametrize("place", ["", "/checkpoints/3", "/checkpoints/best"])
def test_a_model_is_found_by_the_digest_of_any_checkpoint(tmp_path, place):
    train(tmp_path / "a")
    train(tmp_path / "b")
    save(tmp_path / "a", 1.0)
    digest = save(tmp_path / "b", 2.0)
    evaluate(tmp_path / "evaluate", f"gone/elsewhere{place}", digest)
    assert training_of(tmp_path, "evaluate") == "b"


def test_the_digest_decides_if_another_run_is_at_the_path_now(tmp_path):
    train(tmp_path / "a")
    digest = save(tmp_path / "old", 1.0)
    train(tmp_path / "old", output=str(tmp_path / "a"))
    evaluate(tmp_path / "evaluate", tmp_path / "a", digest)
    runs = find_runs(tmp_path, None)
    save(tmp_path / "a", 2.0)
    evaluation = next(run for run in runs if run.verb == "evaluate")
    assert Lineage(runs).training_of(evaluation).name == "a"  # nothing says that it changed
    evaluation.changes["model"] = "its digest was … for this run and is … now"
    assert Lineage(runs).training_of(evaluation).name == "old"


def test_another_run_at_the_path_now_is_not_the_training_if_no_digest_matches(tmp_path):
    train(tmp_path / "a", output=str(tmp_path / "a"))
    evaluate(tmp_path / "one", tmp_path / "a", "sha256:1")
    evaluate(tmp_path / "two", tmp_path / "a/checkpoints/3", "sha256:2", TEXT)
    runs = find_runs(tmp_path, None)
    for run in runs:
        if run.verb == "evaluate":
            run.changes["model"] = "its digest was … for this run and is … now"

    def reasons():
        return [
            line.removesuffix(", so its seed, tokens, steps and FLOPs are unknown; report a folder "
                              "that contains its training")
            for line in comparisons.compare(Lineage(runs), str(tmp_path)).unknown_trainings()
        ]  # fmt: skip

    save(tmp_path / "a", 2.0, step=3)
    assert reasons() == [
        f"{name}: the training of config.model={tmp_path}/{model} was not found, neither at this "
        "path nor by digest (something else is at this path now)"
        for name, model in (("one", "a"), ("two", "a/checkpoints/3"))
    ]
    shutil.rmtree(tmp_path / "a/checkpoints/3")
    save(tmp_path / "a", 2.0, step=5)
    ending = "(something else is at this path now; a has no checkpoints/3 any more)"
    assert all(reason.endswith(ending) for reason in reasons())


def test_a_removed_checkpoint_is_found_in_a_moved_run(tmp_path):
    """`checkpoint.keep` removes earlier checkpoints after they were evaluated."""
    train(tmp_path / "a", output="gone/a")
    digest = save(tmp_path / "a", 1.0, step=1)
    evaluate(tmp_path / "evaluate", "gone/a/checkpoints/1", digest)
    change(tmp_path / "evaluate" / "result.json", step=1)
    for step in (2, 3):
        save(tmp_path / "a", float(step), step)
    assert [path.name for path in sorted((tmp_path / "a/checkpoints").iterdir())] == ["2", "3"]
    assert training_of(tmp_path, "evaluate") == "a"
    change(tmp_path / "evaluate" / "result.json", step=2)
    assert training_of(tmp_path, "evaluate") is None  # the checkpoint of step 2 is another model


def test_the_reason_why_a_training_is_not_found_names_removed_checkpoints_and_copies(tmp_path):
    for name in "ab":
        train(tmp_path / name, output="gone/a")
    save(tmp_path / "a", 2.0, step=4)
    evaluate(tmp_path / "evaluate", "gone/a", "sha256:1")
    runs = find_runs(tmp_path, None)
    assert Lineage(runs).why_not_found(record(tmp_path, "evaluate")) == (
        "the training of config.model=gone/a was not found, neither at this path nor by digest "
        "(config.output of a and b contains it; a has no checkpoints/3 any more; "
        "b has no checkpoints/3 any more)"
    )


def test_a_recorded_output_does_not_count_against_the_digests_of_the_checkpoints(tmp_path):
    train(tmp_path / "a", output="gone/a")
    evaluate(tmp_path / "evaluate", "gone/a", "sha256:other")
    assert training_of(tmp_path, "evaluate") == "a"  # a copy without checkpoints
    save(tmp_path / "a", 1.0)
    assert training_of(tmp_path, "evaluate") is None


def test_of_two_copies_without_checkpoints_none_is_guessed(tmp_path):
    train(tmp_path / "a", output="gone/a")
    train(tmp_path / "b", output="gone/a")
    evaluate(tmp_path / "evaluate", "gone/a", "sha256:1")
    assert training_of(tmp_path, "evaluate") is None


def test_a_damaged_checkpoint_does_not_stop_the_report_and_is_named(tmp_path):
    train(tmp_path / "a", output="other")
    digest = save(tmp_path / "a", 1.0)
    for path in (tmp_path / "a" / "checkpoints" / "3" / "meta").iterdir():
        path.write_text("{")
    evaluate(tmp_path / "evaluate", "gone/a", digest)
    lineage = Lineage(find_runs(tmp_path, None))
    assert lineage.training_of(record(tmp_path, "evaluate")) is None
    reason = lineage.why_not_found(record(tmp_path, "evaluate"))
    assert reason.endswith(" nor by digest (a/checkpoints/3 cannot be read)")
    (line,) = lineage.unreadable()
    assert line.startswith(f"a/checkpoints/3: {tmp_path}/a/checkpoints/3: incomplete checkpoint")
    change(tmp_path / "a" / "config.json", config={"output": "gone/a"})
    assert training_of(tmp_path, "evaluate") == "a"  # no digest of this step rules it out


def test_a_report_reads_each_checkpoint_once_and_logs_those_that_cannot_be_read(
    tmp_path, monkeypatch, caplog
):
    read = []

    def refuse(checkpoints, step):
        read.append(step)
        raise UserError("damaged")

    train(tmp_path / "a")
    save(tmp_path / "a", 1.0)
    for name, marks in (("one", CMF), ("two", TEXT)):
        evaluate(tmp_path / name, f"gone/{name}", f"sha256:{name}", marks)
    monkeypatch.setattr(Checkpoints, "meta", refuse)
    report(ReportConfig(output="", root=str(tmp_path)), make_run(tmp_path / "report"))
    assert read == [3]
    assert caplog.messages.count("a/checkpoints/3: damaged") == 1
    assert "(a/checkpoints/3 cannot be read), so" in (tmp_path / "report/report.md").read_text()


@pytest.mark.parametrize("denied", ["checkpoints", "checkpoints/3"])
def test_a_denied_checkpoint_does_not_stop_the_report_and_is_named(tmp_path, monkeypatch, denied):
    train(tmp_path / "a")
    save(tmp_path / "a", 1.0)
    evaluate(tmp_path / "evaluate", "gone/a", "sha256:1")

    def refuse(*_):
        raise StoreError("denied") from PermissionError()

    monkeypatch.setattr(Checkpoints, "meta" if denied.endswith("3") else "steps", refuse)
    lineage = Lineage(find_runs(tmp_path, None))
    assert lineage.training_of(record(tmp_path, "evaluate")) is None
    assert lineage.unreadable() == [f"a/{denied}: denied"]


def test_the_page_and_the_summary_name_models_whose_training_is_not_found(tmp_path):
    evaluate(tmp_path / "one", "gone/one", "sha256:1")
    evaluate(tmp_path / "two", "gone/two", "sha256:2", TEXT)
    compared = comparisons.compare(Lineage(find_runs(tmp_path, None)), str(tmp_path))
    (notice,) = [block for block in comparison_tables.section(compared)
                 if getattr(block, "title", "") == "Training not found"]  # fmt: skip
    assert [line.partition(" was not found")[0] for line in notice.lines] == [
        "one: the training of config.model=gone/one",
        "two: the training of config.model=gone/two",
    ]
    assert notice.lines[0] in comparison_text(tmp_path)
