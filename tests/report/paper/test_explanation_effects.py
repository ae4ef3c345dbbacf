"""`report --paper` tests our students with explanations against those without, by their answers."""

import re
import shutil

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.report.paper import augmentation
from teacherlm_jax.storage import files
from tests.report.answered import CMF, TEXT, answer, change
from tests.report.paper.paper_runs import evaluated, measured, trained

M = "1" * 150 + "1" * 6 + "0" * 4 + "0" * 40  # one more right than TEXT


def student(root, form, marks, seed=0, format="creak", subjects=("",), name="", **keys):
    """Add a student of OPT 1.3B, its evaluation and its answers."""
    name = name or f"{form}-{seed}"
    keys |= {"data": form, "seed": seed, "stands_for": "none"}
    path = trained(root, name, f"student_{form}", **keys)
    right = measured(marks.count("1") / len(marks), len(marks), subjects)
    stands_for = f"student/opt-1.3b/multi/{form}"
    evaluated(root, f"evaluate-{name}", path, {format: right}, stands_for=stands_for)
    change(root / f"evaluate-{name}" / "result.json", digest=f"sha256:{name}")
    answer(root / f"evaluate-{name}", marks, "set0", subjects=subjects)


@pytest.fixture
def runs(tmp_path):
    """Return a folder with three students: without explanations, with CMF and with M."""
    root = tmp_path / "runs"
    for form, marks in {"text": TEXT, "CMF": CMF, "M": M}.items():
        student(root, form, marks)
    change(root / "CMF-0" / "result.json", tokens=12_000_000_000, step=30)
    change(root / "evaluate-CMF-0" / "result.json", step=30)
    return root


def paper(runs):
    """Return the lines of the Markdown page, as cells, and the result of the report."""
    words = [f"--config.root={runs}", f"--config.output={runs}/report"]
    assert main.main(["report", "--paper", *words]) == 0
    lines = (runs / "report/report.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return cells, files.read_json(runs / "report/result.json")


def row(cells, name):
    """Return the cells of the only row with a name."""
    (found,) = [line[1:] for line in cells if line[0] == name]
    return found


def test_each_change_has_its_interval_test_seeds_and_tokens(runs):
    cells, _ = paper(runs)
    difference, *rest = row(cells, "OPT 1.3B, CMF − OPT 1.3B, P3-Sense-3K")
    assert re.fullmatch(r"\+5\.0 \(\+\S+ to \+\S+\)", difference)
    assert rest == ["200", "1, 1", "15", "5", "0.041", "none", "3.0 : 1"]
    assert row(cells, "OPT 1.3B, M − OPT 1.3B, P3-Sense-3K")[0].startswith("+0.5 (−")


def test_the_training_of_each_student_is_beside_its_change(runs):
    cells, _ = paper(runs)
    assert row(cells, "OPT 1.3B, CMF")[:3] == ["1", "12,000,000,000", "30"]
    assert row(cells, "OPT 1.3B, P3-Sense-3K")[:3] == ["1", "4,000,000,000", "10"]
    page = (runs / "report/report.md").read_text()
    assert "OPT 1.3B, CMF was trained on 3.0 times the tokens of OPT 1.3B, P3-Sense-3K" in page


def test_a_rise_by_chance_is_a_win_but_not_told_apart(runs):
    cells, _ = paper(runs)
    wins = {line[0]: line[1:] for line in cells if ", ours" in line[0] and len(line) == 6}
    one, none = ["–", "1 of 1", "–", "–", "1 of 1"], ["–", "0 of 1", "–", "–", "0 of 1"]
    assert (wins["M, ours"], wins["M, ours: told apart as better"]) == (one, none)
    assert (wins["CMF, ours"], wins["CMF, ours: told apart as better"]) == (one, one)
    assert wins["CMF, ours: told apart as worse"] == none
    columns = {line[0]: line[-2:] for line in cells if ", ours" in line[0] and len(line) == 12}
    assert columns == {"M, ours": ["1 of 1", "0 of 1"], "CMF, ours": ["1 of 1", "1 of 1"]}


def test_students_with_other_questions_are_compared_on_those_that_both_answered(runs):
    student(runs, "F", CMF + "0" * 100)  # 300 questions, the first 200 of them those of TEXT
    cells, _ = paper(runs)
    wins = {line[0]: line[1:] for line in cells if line[0].startswith("F, ours") and len(line) == 6}
    one = ["–", "1 of 1", "–", "–", "1 of 1"]
    assert (wins["F, ours"], wins["F, ours: told apart as better"]) == (one, one)
    (changes,) = [line for line in cells if line[0] == "F, ours" and len(line) == 12]
    assert "+5.0" in changes and changes[-2:] == ["1 of 1", "1 of 1"]
    page = (runs / "report/report.md").read_text()
    assert page.count("that are compared on the questions that both answered: 1.") == 2
    assert "Pairs of ours that are not compared" not in page
    (runs / "evaluate-F-0" / "set0.predictions.jsonl").unlink()
    cells, _ = paper(runs)
    assert not [line for line in cells if line[0] == "F, ours: told apart as better"]
    assert not [line for line in cells if line[0] == "F, ours" and len(line) == 6]
    page = (runs / "report/report.md").read_text()
    assert page.count("questions and their answers are not known: 1.") == 2


@pytest.mark.parametrize(("change", "won"), [(0.04, 0), (0.06, 9), (-1.0, 0), (None, 0)])
def test_a_win_is_a_rise_of_more_than_the_rounding_of_the_paper(change, won):
    cases = 0 if change is None else 9
    assert augmentation.wins(lambda *_: change, ["creak"], "CMF") == (won, cases)


def test_explanations_that_harm_are_told_apart_as_worse(runs):
    student(runs, "F", "1" * 120 + "0" * 80)
    cells, result = paper(runs)
    assert row(cells, "F, ours: told apart as worse")[1] == "1 of 1"
    assert row(cells, "F, ours: told apart as better")[1] == "0 of 1"
    log = (runs / "report/log.txt").read_text()
    assert "3 comparisons of a student with and without explanations: " in log
    assert ": 1 better, 1 worse, 1 undecided\n" in log
    first = {name for pair in result["comparisons"] for name in pair["first"]}
    assert first == {"evaluate-CMF-0", "evaluate-M-0", "evaluate-F-0"}


def test_seeds_are_counted_once_each(runs):
    student(runs, "CMF", "1" * 166 + "0" * 34, seed=1)
    student(runs, "CMF", "1" * 167 + "0" * 33, seed=1, name="again")
    _, result = paper(runs)
    (pair,) = [one for one in result["comparisons"] if "evaluate-CMF-0" in one["first"]]
    assert pair["seeds"] == [2, 1] and pair["second"] == ["evaluate-text-0"]
    page = (runs / "report/report.md").read_text()
    assert "Repeated trainings, which are compared once and count in the means" in page
    assert (
        "> - evaluate-again: its model, or the recipe and seeds of its training, is that of "
        "evaluate-CMF-1\n"
    ) in page
    assert "differ in more than their seeds" not in page


def test_trainings_with_other_settings_are_no_repeats_and_are_named(runs):
    student(runs, "CMF", "1" * 167 + "0" * 33, name="faster", learning_rate=1e-4)
    _, result = paper(runs)
    (pair,) = [one for one in result["comparisons"] if "evaluate-CMF-0" in one["first"]]
    assert sorted(pair["first"]) == ["evaluate-CMF-0", "evaluate-faster"]
    assert pair["difference"] == pytest.approx(0.055)  # of the mean of both
    page = (runs / "report/report.md").read_text()
    assert "Repeated trainings" not in page
    assert "> **Students whose trainings differ in more than their seeds" in page
    assert (
        "> - OPT 1.3B, CMF: evaluate-CMF-0, evaluate-faster; intervals and tests take them for "
        "seeds of one training, so repeat those that do not belong with config.stands_for=none\n"
    ) in page


def test_students_whose_training_is_not_found_are_named(runs):
    shutil.rmtree(runs / "CMF-0")
    paper(runs)
    page = (runs / "report/report.md").read_text()
    assert "Training not found" in page
    assert f"> - evaluate-CMF-0: the training of config.model={runs}/CMF-0 was not found" in page


def test_means_over_subjects_are_compared_for_mmlu(runs):
    subjects = ("law", "law", "anatomy")
    for form, marks in {"text": TEXT, "CMF": CMF}.items():
        student(runs, form, marks, format="mmlu", subjects=subjects, name=f"mmlu-{form}")
    _, result = paper(runs)
    by_strata = [(pair["benchmark"], pair["by_strata"]) for pair in result["comparisons"]]
    assert by_strata == [("MMLU", True), ("CREAK", False), ("CREAK", False)]


def test_students_without_answers_are_named(runs):
    (runs / "evaluate-CMF-0" / "set0.predictions.jsonl").unlink()
    cells, result = paper(runs)
    assert len(result["comparisons"]) == 1
    page = (runs / "report/report.md").read_text()
    assert "> - evaluate-CMF-0: has no set0.predictions.jsonl" in page
    assert row(cells, "M, ours: told apart as better")[-1] == "0 of 1"


def test_a_report_without_students_compares_nothing(tmp_path):
    (tmp_path / "runs").mkdir()
    cells, result = paper(tmp_path / "runs")
    assert result["comparisons"] == []
    assert not [line for line in cells if "told apart as" in line[0]]
