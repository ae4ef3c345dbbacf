"""Accuracies on the page: intervals, baselines, scoring, subjects, and the paper's figures."""

import shutil

import pytest

from teacherlm_jax.storage import files
from tests.report.built_report import build_again, page_of


def test_every_accuracy_has_its_interval_baseline_and_run(built):
    text = page_of(built).text
    for model, accuracy in {"stage1": 41.0, "stage2": 78.0, "student_CMF": 84.0}.items():
        low, high = accuracy - 3.4, accuracy + 3
        row = f"{model} {accuracy} {low:.1f} to {high:.1f} 27.0 800 240 evaluate_{model}"
        assert row in text


def test_evaluations_with_other_settings_are_in_another_figure_which_names_them(runs, built):
    for name, shots in (("stage1", 0), ("stage2", 5)):
        path = runs / f"evaluate_{name}" / "result.json"
        result = files.read_json(path)
        result["benchmarks"]["generated"]["settings"] = {"score": "letters", "shots": shots}
        files.write_json(path, result | {"dtype": "float32"})
    text = page_of(build_again(built, runs)).text
    assert "majority baseline. Scoring: score letters, shots 0, dtype float32." in text
    assert "majority baseline. Scoring: score letters, shots 5, dtype float32." in text
    drawn = sorted(path.name for path in (built[0] / "figures").glob("accuracy-generated-*"))
    assert drawn == [f"accuracy-generated-{number}.svg" for number in (1, 2, 3)]


def test_two_evaluations_of_one_model_are_told_apart_by_their_runs(runs, built):
    shutil.copytree(runs / "evaluate_stage1", runs / "evaluate_again")
    page = build_again(built, runs)
    text = page_of(page).text
    for name in ("evaluate_again", "evaluate_stage1"):
        assert f"stage1 ({name}) 41.0 37.6 to 44.0 27.0 800 240 {name}" in text
        assert f"stage1 ({name})" in (page[0] / "figures/accuracy-generated.svg").read_text()


def test_subjects_and_refused_rows_get_columns_if_there_are_any(built):
    # MMLU as in the paper: the mean over subjects (33.0) first, with its own interval.
    row = "stage2 33.0 30.0 to 36.0 26.9 31.0 14,042 240 3 0 evaluate_stage2"
    text = page_of(built).text
    assert row in text
    assert "mean over subjects majority accuracy questions step refused truncated" in text
    assert (
        "mmlu (2 subjects, 14,042 questions): mean accuracy over subjects with its 95% CI" in text
    )


def test_the_categories_of_mmlu_are_in_a_table_of_their_own(runs, built):
    assert "by category of subjects" not in page_of(built).text
    path = runs / "evaluate_stage2" / "result.json"
    result = files.read_json(path)
    figures_of = {"rows": 9, "accuracy": 0.301, "macro_accuracy": 0.312, "subjects": 2}
    other = figures_of | {"macro_accuracy": 0.256}
    result["benchmarks"]["mmlu"]["by_category"] = {"STEM": figures_of, "humanities": other}
    files.write_json(path, result)
    text = page_of(build_again(built, runs)).text
    assert "model STEM humanities stage2 31.2 30.1 25.6 30.1 Accuracy in per cent by cat" in text


def test_a_benchmark_is_recognized_by_its_format_and_not_by_its_name(runs, built):
    path, config = (runs / "evaluate_stage2" / name for name in ("result.json", "config.json"))
    settings, result = files.read_json(config), files.read_json(path)
    result["benchmarks"]["mine"] = result["benchmarks"].pop("mmlu")
    result["benchmarks"]["mmlu"] = result["benchmarks"].pop("ecqa")
    settings["config"]["benchmarks"] = [
        {"name": "mine", "format": "mmlu"},
        {"name": "mmlu", "format": "ecqa"},
    ]
    files.write_json(path, result)
    files.write_json(config, settings)
    text = page_of(build_again(built, runs)).text
    assert "stage2 33.0 30.0 to 36.0 26.9 31.0 14,042 240 3 0 evaluate_stage2" in text
    mine, mmlu = text.index("mine (2 subjects"), text.index("mmlu (2,194 questions)")
    assert mine < text.index("Table 1: MMLU accuracy") < mmlu < text.index("Table 7: ECQA")


def test_accuracy_over_all_questions_comes_first_for_a_benchmark_without_a_mean_in_the_paper(
    runs, built
):
    path = runs / "evaluate_stage2" / "result.json"
    result = files.read_json(path)
    result["benchmarks"] = {"toys": result["benchmarks"]["mmlu"]}
    files.write_json(path, result)
    text = page_of(build_again(built, runs)).text
    assert "stage2 31.0 27.6 to 34.0 26.9 33.0 14,042 240 3 0 evaluate_stage2" in text
    assert "accuracy majority mean over subjects questions step refused truncated" in text


def test_the_papers_figures_are_shown_for_its_benchmarks_with_its_misprints_marked(built):
    text = page_of(built).text
    assert "TeacherLM-7.1B 41.47 51.11 52.30 50.32 49.00 47.00" in text
    assert "no training 20.6 19.3 21.2 20.2 62.8 74.3 21.2 20.4 20.8" in text  # ECQA
    assert "CMF 49.4 64.8 70.9 33.5 (misprint) 74.5 78.2 51.9 69.7 71.7" in text
    assert "CREAK of multi-task students" not in text  # nothing here was evaluated on it


@pytest.mark.parametrize(("ties", "shown"), [(8, False), (9, True)])
def test_ties_are_shown_above_one_per_cent_of_the_questions(built, runs, ties, shown):
    path = runs / "evaluate_stage1" / "result.json"
    result = files.read_json(path)
    result["benchmarks"]["generated"]["ties"] = ties
    files.write_json(path, result)
    text = page_of(build_again(built, runs)).text
    assert ("majority questions step ties run" in text) == shown
    assert (f"stage1 41.0 37.6 to 44.0 27.0 800 240 {ties} evaluate_stage1" in text) == shown
