"""The page shows the results of every run, hides no run, and loads nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from teacherlm_jax.config import ReportConfig, TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.report import figures
from teacherlm_jax.report.blocks import Figure, Table
from teacherlm_jax.report.build import charts, report
from teacherlm_jax.report.page import write
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files
from tests.limited_rights import limited_rights
from tests.make_run import make_run
from tests.report.built_report import Page, build_again, page_of


def test_the_page_is_well_formed_and_fetches_nothing(built):
    page = page_of(built)
    identifiers = [value for name, value in page.attributes if name == "id"]
    links = [value for name, value in page.attributes if name in ("href", "src")]
    assert links and all(link.removeprefix("#") in identifiers for link in links)
    source = (built[0] / "report.html").read_text()
    assert not re.search(r"<script[^>]* src|<link", source)
    outside = re.sub(r"<script.*?</script>", "", source, flags=re.DOTALL)
    assert not re.search(r"@import|url\((?!#)", outside)


def test_text_of_runs_is_escaped(built):
    page = page_of(built)
    assert "Toys & <pears>" in page.text
    assert "One may take 3 away, <as if> Mia had sold | lost them." in page.text


def test_figures_of_one_name_have_files_of_their_own_and_markdown_has_no_markup_of_runs(tmp_path):
    drawn = figures.intervals([("a", 0.5, 0.4, 0.6)], 0.3, "x")
    shown = [Figure(name, drawn, f"Caption <{name}>.", "d") for name in ("a/b", "a-b", "a b")]
    run = make_run(tmp_path / "report")
    write(run, "t", "l", [*shown, Table("A [c].", ("x",), (("1 | <i>",),))], "summary")
    names = sorted(path.name for path in (run.path / "figures").iterdir())
    assert names == ["a-b-2.svg", "a-b-3.svg", "a-b.svg"]
    markdown = (run.path / "report.md").read_text()
    assert all(f"(figures/{name})" in markdown for name in names)
    assert "| 1 \\| &lt;i> |" in markdown and "A \\[c\\]." in markdown


def test_the_charts_of_a_folder_are_the_figures_of_its_report(runs, built):
    drawn = charts(runs)
    assert sorted(drawn) == sorted(path.stem for path in (built[0] / "figures").iterdir())
    chart = drawn["accuracy-generated"].to_dict()
    assert {"model": "stage1", "accuracy": 41.0} in [
        {key: row[key] for key in ("model", "accuracy")} for row in chart["datasets"]["rows"]
    ]
    assert chart["config"]["background"] == "white"


def test_figures_of_an_earlier_report_are_removed_and_other_files_are_kept(tmp_path):
    drawn = figures.intervals([("a", 0.5, 0.4, 0.6)], 0.3, "x")
    run = make_run(tmp_path / "report")
    write(run, "t", "l", [Figure(name, drawn, "Caption.", "d") for name in ("a", "b")], "summary")
    (run.path / "figures/notes.txt").write_text("mine")
    write(run, "t", "l", [Figure("b", drawn, "Caption.", "d")], "summary")
    assert sorted(path.name for path in (run.path / "figures").iterdir()) == ["b.svg", "notes.txt"]


def test_explanations_are_counted_by_kind_and_shown_in_full_failing_ones_beside_others(built):
    text = page_of(built).text
    assert "common mistakes stage3_mistake 1,000 22.0 99.8 100.0 87.4 87.4" in text
    shown = [number for number in range(5) if f"Sample unlabelled-{number} in annotate" in text]
    assert shown == [0, 1, 2, 3, 4]
    passing, failing = text.index("Every text passes its gates"), text.index("A text fails a gate")
    assert passing < text.index("Sample unlabelled-3") < failing < text.index("Sample unlabelled-4")
    assert "Mia has 4 pears and buys 3 more. 4 + 3 = 7." in text
    assert "fails: synthetic" in text


def test_of_many_samples_ten_are_shown_half_of_them_failing(runs, built):
    shard = runs / "annotate/samples/part-00000-of-00001.jsonl"
    *passing, failing = [row for _, row in files.read_jsonl(shard)]
    assert len(passing) == 4
    rows = [passing[0]] * 40 + [failing] * 40
    files.write_jsonl(shard, [row | {"id": f"row-{number}"} for number, row in enumerate(rows)])
    shown = re.findall(r"Sample row-(\d+) in annotate", page_of(build_again(built, runs)).text)
    assert len(shown) == 10
    assert sum(int(number) >= 40 for number in shown) == 5


def test_training_runs_show_initial_model_tokens_loss_and_speed(built):
    text = page_of(built).text
    assert "stage1 random 240 983,040 0.412 87.1 8,192" in text
    assert "stage3_cot stage2 240 983,040 0.412 87.1 8,192" in text


def test_a_training_without_loss_tokens_shows_no_loss(runs, built):
    result = files.read_json(runs / "stage1" / "result.json")
    files.write_json(runs / "stage1" / "result.json", result | {"loss": None, "accuracy": None})
    text = page_of(build_again(built, runs)).text
    assert "stage1 random 240 983,040 n/a n/a 8,192" in text


def test_unfinished_and_unreadable_runs_are_named_with_the_reason(built):
    text = page_of(built).text
    assert "student_F (train): the last line of its log: step 100/240 loss 1.055" in text
    assert re.search(r"broken \(unreadable\): .*config.json:1: not JSON", text)
    assert built[1]["unfinished"] == ["broken", "student_F"]
    assert built[1]["runs"]["train"] == 8


def test_a_folder_that_cannot_be_searched_is_named_with_the_reason(built, runs):
    (runs / "broken").chmod(0)
    try:
        with limited_rights():
            again = build_again(built, runs)
    finally:
        (runs / "broken").chmod(0o755)
    assert again[1]["unfinished"] == ["broken", "student_F"]
    text = page_of(again).text
    assert f"broken (unreadable): {runs}/broken: cannot be read: Permission denied; give" in text


def test_the_run_that_contains_the_report_is_not_called_unfinished(built):
    assert "quickstart" not in page_of(built).text
    assert "report" not in built[1]["runs"]


def test_markdown_has_the_same_tables_and_links_its_figures(built):
    folder = built[0]
    written = (folder / "report.md").read_text()
    assert "| stage2 | 78.0 (74.6 to 81.0) | 27.0 | 800 | 240 | evaluate_stage2 |" in written
    linked = re.findall(r"\]\((figures/[^)]+)\)", written)
    assert len(linked) == 13  # three benchmarks, the gates, lengths, and the losses of 8 trainings
    for name in linked:
        assert (folder / name).read_text().startswith("<svg ")


@pytest.mark.parametrize(
    ("run", "result", "problem"),
    [
        ("evaluate_stage1", [], "it is not an object"),
        ("evaluate_stage1", {}, "it lacks model, step, benchmarks"),
        ("annotate", {"rows": 1, "refused": 0, "kinds": {}}, r"it lacks kinds\.\*"),
        ("annotate", {"rows": 1, "refused": 0, "kinds": {"cot": {}}}, r"lacks kinds.cot.teacher,"),
        ("stage1", {"steps": 3}, "it lacks step, tokens, loss, accuracy, tokens_per_second"),
    ],
)
def test_a_result_of_another_shape_makes_its_run_unfinished(runs, built, run, result, problem):
    files.write_json(runs / run / "result.json", result)
    again = build_again(built, runs)
    assert run in again[1]["unfinished"]
    assert re.search(
        rf"{run} \(\w+\): .*{run}/result.json: .*{problem}.*; remove this file and",
        page_of(again).text,
    )


def test_an_interval_must_be_two_numbers(runs, built):
    result = files.read_json(runs / "evaluate_stage1" / "result.json")
    for interval in ([0.1], [0.1, "0.3"], 0.2):
        result["benchmarks"]["generated"]["interval"] = interval
        files.write_json(runs / "evaluate_stage1" / "result.json", result)
        assert "evaluate_stage1" in build_again(built, runs)[1]["unfinished"]


def test_an_annotation_without_gates_says_so_instead_of_counting(runs, built):
    result = files.read_json(runs / "annotate" / "result.json")
    for kind in result["kinds"].values():
        kind |= {"gates": {}, "passed_all_gates": None}
    files.write_json(runs / "annotate" / "result.json", result)
    shard = next((runs / "annotate" / "samples").iterdir())
    rows = [row for _, row in files.read_jsonl(shard)]
    for row in rows:
        for annotation in row["annotations"].values():
            annotation["gates"] = {}
    files.write_jsonl(shard, rows)
    again = build_again(built, runs)
    assert "common mistakes stage3_mistake 1,000 22.0 no gates" in page_of(again).text
    assert "common mistakes · no gates" in page_of(again).text
    assert "passes: " not in page_of(again).text
    summary = (again[0] / "summary.txt").read_text()
    assert re.search(r"  common mistakes +1,000 +no gates\n", summary)
    assert "  common mistakes (no gates)\n" in summary


def test_an_annotation_of_no_sample_shows_none(runs, built):
    next((runs / "annotate" / "samples").iterdir()).write_text("")
    again = build_again(built, runs)
    assert "Sample unlabelled" not in page_of(again).text
    assert "Samples from" not in (again[0] / "summary.txt").read_text()


def test_another_process_with_another_hash_seed_writes_the_same_bytes(built, runs):
    written = ["report.html", "report.md", "summary.txt", "figures/loss-1.svg"]
    first = [(built[0] / name).read_bytes() for name in written]
    again = (
        "import sys; from tests.report.built_report import build_again; "
        "from pathlib import Path; build_again((Path(sys.argv[1]),), Path(sys.argv[2]))"
    )
    for seed in ("1", "2"):
        for name in written:
            (built[0] / name).unlink()
        subprocess.run(
            [sys.executable, "-c", again, str(built[0]), str(runs)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
        )
        assert [(built[0] / name).read_bytes() for name in written] == first


def test_a_run_that_was_refused_before_its_work_began_is_not_called_unfinished(built, runs):
    config = TrainConfig(output=str(runs / "refused"), data="nowhere")
    left_by_an_earlier_version = run_folder.open_run(config.output, "train", config)
    left_by_an_earlier_version.log.error("UserError: config.data=nowhere: no such folder")
    left_by_an_earlier_version.close()
    crashed = run_folder.open_run(str(runs / "crashed"), "train", config)
    files.write_jsonl(runs / "crashed" / "metrics.jsonl", [{"step": 1, "loss": 2.0}])
    with pytest.raises(UserError), crashed:
        raise UserError("out of memory")
    again = build_again(built, runs)
    assert again[1]["refused"] == ["refused"]
    assert again[1]["unfinished"] == ["broken", "crashed", "student_F"]
    text = page_of(again).text
    assert "refused (train): config.data=nowhere: no such folder" in text
    assert "crashed (train): the last line of its log: " in text
    assert "refused train refused" in text and "crashed train unfinished" in text


def test_a_validated_training_shows_the_best_value_with_its_step_and_the_final_one(built, runs):
    result = files.read_json(runs / "stage1" / "result.json")
    best = {"best_metric": 0.25, "best_step": 80, "final_metric": 0.125}
    files.write_json(runs / "stage1" / "result.json", result | best)
    content = files.read_json(runs / "stage1" / "config.json")
    content["config"]["validation"] = {"metric": "creak/accuracy"}
    files.write_json(runs / "stage1" / "config.json", content)
    text = page_of(build_again(built, runs)).text
    assert "run metric best at step final best checkpoint" in text
    assert "stage1 creak/accuracy 0.2500 80 0.1250 not kept" in text
    kept = {"best_checkpoint": str(runs / "stage1/checkpoints/80")}
    files.write_json(runs / "stage1" / "result.json", result | best | kept)
    assert "stage1 creak/accuracy 0.2500 80 0.1250 kept" in page_of(build_again(built, runs)).text
    files.write_json(runs / "stage1" / "result.json", result | {"best_step": 80})
    assert "it lacks best_metric, final_metric" in page_of(build_again(built, runs)).text


def test_a_training_that_stopped_early_shows_its_number_of_steps(built, runs):
    result = files.read_json(runs / "stage1" / "result.json")
    files.write_json(runs / "stage1" / "result.json", result | {"step": 160})
    assert "stage1 random 160 of 240 983,040" in page_of(build_again(built, runs)).text


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "no such folder"), ("empty", "contains no run folder")]
)
def test_nothing_to_report_on_is_an_error(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    run = make_run(tmp_path / "report")
    with pytest.raises(UserError, match=message):
        report(ReportConfig(output="", root=str(tmp_path / name), title=""), run)


def test_a_page_without_loss_curves_says_so(runs):
    for path in runs.rglob("metrics.jsonl"):
        path.unlink()
    run = make_run(runs / "report")
    report(ReportConfig(output="", root=str(runs), title="t"), run)
    assert "No loss curves" in Page((run.path / "report.html").read_text()).text
    assert not list((run.path / "figures").glob("loss*"))
