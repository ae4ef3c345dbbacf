"""The console summary: one table, some samples, and the path of the page."""

import re

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report import comparisons, console_summary
from teacherlm_jax.report.build import report
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.storage import files
from tests.make_run import make_run


def _summary(runs) -> str:
    run = make_run(runs / "report")
    report(ReportConfig(output="", root=str(runs), title="Toys"), run)
    return (run.path / "summary.txt").read_text()


def test_the_summary_begins_with_the_title_and_ends_with_the_page(runs):
    lines = _summary(runs).splitlines()
    assert lines[:2] == ["Toys", "===="]
    assert lines[-3:] == ["Full report", "-----------", str(runs / "report/report.html")]


def test_models_and_students_are_separate_with_interval_and_majority(runs):
    summary = " ".join(_summary(runs).split())
    assert (
        "Accuracy on generated, 800 questions" in summary
        and "models accuracy 95% CI majority "
        "stage1 41.0% 37.6 to 44.0 27.0% stage2 78.0% 74.6 to 81.0 27.0% "
        "students accuracy 95% CI majority "
        "student_CMF 84.0% 80.6 to 87.0 27.0% student_text 55.0% 51.6 to 58.0 27.0%"
        in summary
    )


def test_the_share_that_passes_is_shown_by_gate_and_kind(runs):
    summary = " ".join(_summary(runs).split())
    assert "kind texts finished not empty synthetic all gates" in summary
    assert "common mistakes 1,000 99.8% 100.0% 87.4% 87.4%" in summary


def test_the_columns_of_the_table_are_aligned(runs):
    table, _ = _summary(runs).split("\n\nSamples from")
    rows = [line for line in table.splitlines() if re.match(r"  \w|models|students|kind", line)]
    ends = {tuple(cell.end() for cell in re.finditer(r"\S+( \S+)*", row))[1:4] for row in rows}
    assert len(rows) == 14
    assert len(ends) == 1


def test_models_with_other_questions_are_listed_in_a_separate_block(runs):
    path = runs / "evaluate_student_text" / "result.json"
    result = files.read_json(path)
    result["benchmarks"]["generated"] |= {"rows": 20, "majority": 0.5}
    files.write_json(path, result)
    summary = " ".join(_summary(runs).split())
    assert "student_text 55.0% 51.6 to 58.0 50.0%" in summary
    assert "Accuracy on generated, 20 questions" in summary
    assert "stage1 41.0% 37.6 to 44.0 27.0%" in summary


def test_mmlu_is_the_mean_over_subjects_and_named_so(runs):
    summary = " ".join(_summary(runs).split())
    assert "Accuracy on mmlu, 14,042 questions, mean over 2 subjects" in summary
    assert "stage2 33.0% 30.0 to 36.0 26.9%" in summary


def test_samples_are_printed_in_full_with_their_verdicts(runs):
    summary = _summary(runs)
    assert (
        """unlabelled-4  (synthetic/quantities)
  Question  Mia has 6 pears. She buys 3 pears. How many pears has she now?
            (A) 3
            (B) 9
            (C) 10
  Answer    (B) 9
  chain of thought (fails: synthetic)
            Mia has 6 pears and buys 3 more. 6 + 3 = 9.
"""
        in summary
    )
    assert "  common mistakes (passes: finished, not empty, synthetic)\n" in summary


@pytest.mark.parametrize(
    ("text", "shown"),
    [("word " * 60, "word word"), ("\x1b[31mred\x00", "�[31mred�"), ("w" * 300, "w" * 88)],
)
def test_texts_are_wrapped_without_control_characters(runs, text, shown):
    shard = next((runs / "annotate" / "samples").iterdir())
    rows = [row for _, row in files.read_jsonl(shard)]
    for row in rows:
        row["explanations"]["mistake"]["teacher"] = text
    files.write_jsonl(shard, rows)
    samples = _summary(runs).partition("Samples from")[2].partition("Full report")[0]
    assert shown in samples
    assert max(map(len, samples.splitlines())) <= 100
    assert all(letter.isprintable() or letter == "\n" for letter in samples)


def test_ids_and_sources_cannot_control_a_terminal(runs, capsys):
    shard = next((runs / "annotate" / "samples").iterdir())
    rows = [row | {"id": "q1\x1b[2J", "source": "s\x9b2J"} for _, row in files.read_jsonl(shard)]
    files.write_jsonl(shard, rows)
    shown = _printed(runs, capsys)
    written = (runs / "report/summary.txt").read_text(), (runs / "report/log.txt").read_text()
    for text in (shown, *written):
        assert "q1�[2J  (s�2J)" in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_unfinished_runs_are_named(runs):
    assert "Unfinished\n  broken\n  student_F\n" in _summary(runs)


def test_a_folder_with_only_unfinished_runs_has_a_summary(tmp_path):
    files.write_json(tmp_path / "a" / "config.json", {"verb": "train", "config": {}})
    summary = _summary(tmp_path)
    assert summary.startswith("Toys\n====\n\nUnfinished\n  a\n\nFull report\n")


def _printed(runs, capsys) -> str:
    assert main.main(["report", f"--config.root={runs}", f"--config.output={runs}/report"]) == 0
    return capsys.readouterr().out


def test_the_command_prints_the_summary_with_the_differences(students, capsys):
    shown = _printed(students, capsys)
    summary = (students / "report/summary.txt").read_text()
    assert summary in shown
    assert re.search(r"student_CMF − student_text +\+5\.0 .* 0\.041", shown)
    assert f"{students}/report/report.html: " in shown  # with the number of runs


def test_of_a_long_summary_only_the_differences_are_printed(students, capsys, monkeypatch):
    monkeypatch.setattr(console_summary, "_MOST_LINES", 15)
    shown = _printed(students, capsys)
    assert shown.startswith("Differences on generated") and "Training of these models" in shown
    assert "Accuracy on generated" not in shown
    path = students / "report/summary.txt"
    lines = len(path.read_text().splitlines())
    assert f"The whole summary has {lines} lines: {path}\n" in shown


def test_of_very_many_differences_only_the_file_is_named(students):
    compared = comparisons.compare(Lineage(find_runs(students, None)), students)
    (first, (pair,)), *others = compared.sets
    many = comparisons.Comparisons(((first, (pair,) * 300), *others), compared.problems)
    folder = students / "report"
    assert console_summary.for_console("line\n" * 1234, many, folder) == (
        f"The whole summary has 1,234 lines: {folder}/summary.txt, with the differences between "
        "the models"
    )
