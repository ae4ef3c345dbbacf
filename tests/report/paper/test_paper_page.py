"""`report --paper` puts each run into the cell that its config names, and names the empty cells."""

import shlex

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.report.paper import printed
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from tests.report.paper.paper_runs import annotated, evaluated, measured, trained

SUBJECTS = [subject.replace("_", " ") for subject in printed.table("subjects").rows]


@pytest.fixture
def runs(tmp_path):
    """Return a folder with runs of each way to stand for a cell, and of none."""
    root = tmp_path / "runs"
    mmlu = measured(0.30, 14_042, SUBJECTS)
    # By the key of the training run, whatever its folder is called.
    named = trained(root, "teacher_7b1_stage2", "mine", stands_for="teacher/560m/stage1")
    evaluated(root, "a", f"{named}/checkpoints/best", {"mmlu": mmlu})
    # By mixture and shape.
    derived = trained(root, "b-training", "teacher_stage3_cot", "bloom-1b1")
    evaluated(root, "b", f"{derived}/checkpoints/7", {"mmlu": measured(0.40, 14_042, SUBJECTS)})
    # By the key of the evaluation, against that of the training run.
    students = {"text": 0.60, "CMF": 0.66}
    for form, right in students.items():
        evaluated(
            root,
            f"student-{form}",
            named,
            {"creak": measured(right, 674)},
            stands_for=f"student/opt-1.3b/multi/{form}",
        )
    # A published model.
    evaluated(root, "hub", "hf://facebook/opt-1.3b@main", {"ecqa": measured(0.25, 2194)})
    # Nothing: by its key, by an unknown shape, with two models that fit, and without a run.
    evaluated(root, "none", derived, {"mmlu": mmlu}, stands_for="none")
    toy = trained(root, "toy", "teacher_stage1")
    evaluated(root, "of-toy", toy, {"mmlu": mmlu})
    either = trained(root, "either", "student_CMF", "bloom-7b1")
    evaluated(root, "of-either", either, {"mmlu": mmlu})
    evaluated(root, "elsewhere", "models/other", {"mmlu": mmlu})
    annotated(root, "annotate", "creak")
    return root


def build(runs):
    """Write the report on the runs and return its folder."""
    folder = runs / "report"
    words = ["report", "--paper", f"--config.root={runs}", f"--config.output={folder}"]
    assert main.main(words) == 0
    return folder


@pytest.fixture
def built(runs):
    """Return the Markdown page, the result and the folder of a report."""
    folder = build(runs)
    return (folder / "report.md").read_text(), files.read_json(folder / "result.json"), folder


def rows_of(page, name):
    """Return the cells of each row of the page whose first cell begins with a name."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {name}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_run_stands_for_what_its_config_says(built):
    _, result, _ = built
    assert result["stand_for"] == {
        "data/creak": ["annotate"],
        "student/opt-1.3b/multi/CMF": ["student-CMF"],
        "student/opt-1.3b/multi/text": ["student-text"],
        "student/opt-1.3b/pretrained": ["hub"],
        "teacher/1b1/stage3_cot": ["b", "b-training"],
        "teacher/560m/stage1": ["a", "teacher_7b1_stage2"],
    }


def test_an_evaluation_of_another_checkpoint_is_named_as_left_out(runs):
    evaluated(runs, "c", f"{runs}/b-training/checkpoints/3", {"mmlu": measured(0.9, 14_042)})
    page = (build(runs) / "report.md").read_text()
    assert "checkpoints/3 (14,042 questions) is left out: b counts for the same" in page
    assert rows_of(page, "TeacherLM-1.1B, ours − paper")[0][3] == "+0.62"


def test_a_run_that_stands_for_nothing_is_named_with_the_reason(built):
    page, _, _ = built
    assert "> - none (evaluate): config.stands_for=none" in page
    assert (
        "> - of-toy (evaluate): its training run: no model in the paper has its shape (bloom, 2 "
        "layers of width 32)"
    ) in page
    assert (
        "> - either (train): may be student/bloom-7b1/multi/CMF or student/bloomz-7b1/multi/CMF; "
        "set config.stands_for"
    ) in page
    assert "> - elsewhere (evaluate): config.model=models/other is not a run folder" in page


def test_ours_and_the_difference_follow_the_row_of_the_paper(built):
    page, _, _ = built
    paper, ours, difference = rows_of(page, "TeacherLM-560M, ")[:3]
    assert paper[1:] == ["31.00", "36.47", "38.39", "34.65", "34.85", "35.27"]
    assert ours == ["TeacherLM-560M, ours", "32.00", *["–"] * 5]
    assert difference == ["TeacherLM-560M, ours − paper", "+1.00", *["–"] * 5]
    assert rows_of(page, "TeacherLM-1.1B, ours − paper")[0][3] == "+0.62"
    assert rows_of(page, "TeacherLM-176B, ")[0][2] == "59.80"


def test_subjects_have_three_columns_for_a_model_with_figures(built):
    page, _, _ = built
    (first,) = [row for row in rows_of(page, "anatomy") if "39.26" in row]
    assert first[first.index("39.26") :][:3] == ["39.26", "40.00", "+0.74"]
    (average,) = [row for row in rows_of(page, "average") if "41.38" in row]
    assert average[average.index("41.38") :][:3] == ["41.38", "42.00", "+0.62"]
    assert len(rows_of(page, "world religions")) == 2  # two parts of the table


def test_changes_from_explanations_and_wins_are_counted(built):
    page, _, _ = built
    of_opt = 7  # column of OPT 1.3B
    changes = [row for row in rows_of(page, "CMF, ours") if row[of_opt:][:1] == ["+6.0"]]
    assert changes[0][-2:] == ["1 of 1", "–"]  # no answers, so nothing is told apart
    wins = {row[0]: row[1:] for row in rows_of(page, "CMF, ") if row[-1].endswith(" of 35")}
    assert wins["CMF, paper"] == ["9 of 9", "7 of 9", "3 of 8", "5 of 9", "24 of 35"]
    assert "Ours on CREAK: 674 questions instead of 1,371." in page


def test_accuracies_on_different_numbers_of_questions_are_not_subtracted(runs):
    evaluated(
        runs,
        "more",
        "models/more",
        {"creak": measured(0.7, 1371)},
        stands_for="student/opt-1.3b/multi/CMF",
    )
    page = (build(runs) / "report.md").read_text()
    assert not [row for row in rows_of(page, "CMF, ours") if row[-1].endswith("of 1")]
    note = "they are on different numbers of questions and their answers are not known: 1."
    assert page.count(note) == 2
    assert "figure of ours, but on fewer questions than the paper's: 1." in page
    assert files.read_json(runs / "report/result.json")["filled"] == 74


def test_a_misprint_is_shown_and_marked_and_compared_with_nothing(built):
    page, _, folder = built
    (ecqa,) = [row for row in rows_of(page, "CMF, paper") if row[1:4] == ["49.4", "64.8", "70.9"]]
    assert ecqa[4] == "33.5 (misprint)"
    assert page.count("(misprint)") == 9
    assert 'data-order="33.5">33.5 (misprint)</td>' in (folder / "report.html").read_text()
    name = "student/bloomz-1b1/multi/CMF"
    evaluated(folder.parent, "misprint", "m", {"ecqa": measured(0.5, 2194)}, stands_for=name)
    build(folder.parent)
    page = (folder / "report.md").read_text()
    ours = [row for row in rows_of(page, "CMF, ours") if row[4] == "50.0"]
    assert len(ours) == 1 and rows_of(page, "CMF, ours − paper")[0][4] == "–"


def test_a_number_that_the_paper_lacks_is_a_dash_and_the_caption_says_so(built):
    page, _, _ = built
    assert rows_of(page, "TeacherLM-176B, ")[0][1:3] == ["–", "59.80"]
    (caption,) = [line for line in page.splitlines() if line.startswith("*Table 1: ")]
    assert caption.endswith(" –: the paper has no number, or we have none.*")


def test_data_and_settings_are_beside_the_papers(built):
    page, _, _ = built
    assert rows_of(page, "CREAK, ours")[0] == ["CREAK, ours", "–", "500", "–", "–", *["70"] * 3]
    paper, ours, difference = rows_of(page, "TeacherLM-560M, ")[3:6]
    assert paper == ["TeacherLM-560M, paper", "3e-04", "256", "5B", "7.5B", "0.5B"]
    assert ours == ["TeacherLM-560M, ours", "2e-05", "256", "4B", "–", "–"]
    assert difference[3] == "−1B"


def test_a_student_of_one_task_is_beside_the_papers(tmp_path):
    root, name = tmp_path / "runs", "student/bloomz-7b1/creak/C"
    keys = {"learning_rate": 1e-5, "stands_for": name}
    model = trained(root, "student", "student_C", "bloom-7b1", **keys)
    evaluated(root, "of-student", f"{model}/checkpoints/best", {"creak": measured(0.75, 1371)})
    page = (build(root) / "report.md").read_text()
    (ours,) = [row for row in rows_of(page, "CREAK, ours") if "75.0" in row]
    assert ours[1:] == ["–", "–", "75.0", *["–"] * 5]
    assert "| CREAK, paper | 64.0 | 73.3 | 77.0 | 54.8 | 58.2 | 74.6 | 69.6 | 76.7 |" in page
    (difference,) = [row for row in rows_of(page, "CREAK, ours − paper") if len(row) == 9]
    assert difference[1:] == ["–", "–", "−2.0", *["–"] * 5]
    settings = [row for row in rows_of(page, "single task, ") if len(row) == 3]
    assert [row[1:] for row in settings] == [["6e-06", "64"], ["1e-05", "256"], ["+4e-06", "+192"]]


def test_evaluations_and_annotations_of_a_part_of_the_data_fill_no_cell_of_table_2(tmp_path):
    root = tmp_path / "runs"
    for rows, right in ((10, 0.5), (674, 0.6)):
        name = f"student-{rows}"
        results = {"ecqa": measured(right, rows)}
        evaluated(root, name, "m", results, stands_for="student/opt-1.3b/pretrained")
        scored = [{"id": "a", "scores": {"mean": [1.0, 2.0]}}] * rows
        files.write_jsonl(root / name / layout.predictions("set0"), scored)
    annotated(root, "part", "ecqa", limit=500)
    annotated(root, "whole", "creak")
    for task in ("imdb", "anli"):  # 3,000 samples of a task are the whole of it in P3-Sense-3K
        annotated(root, task, "p3", limit=3000, stands_for="data/p3")
    page = (build(root) / "report.md").read_text()
    assert not rows_of(page, "ECQA, ours")
    assert rows_of(page, "CREAK, ours")[0][2] == "500"
    assert rows_of(page, "P3-Sense-3K, ours")[0][2] == "1,000"
    assert "Table 2: 8 of 25" in (root / "report/log.txt").read_text()


def test_filled_and_empty_cells_are_counted_and_summarized_in_the_log(built):
    _, result, folder = built
    # Table 1: 2; subjects: 57 and the average of TeacherLM-1.1B; students: one before
    # training; the two forms are on fewer questions than the paper's. Table 2: the annotation
    # of CREAK, and the questions of ECQA. Hyper-parameters: three of two teachers.
    filled = 2 + 58 + 1 + 5 + 6
    assert (result["filled"], result["empty"]) == (filled, 833 - filled)
    log = (folder / "log.txt").read_text()
    assert "72 of 833 cells of the paper's tables are filled" in log
    assert "Table 2: 5 of 25" in log and "the hyper-parameters: 6 of 27" in log
    assert "Table 1: 2 of 25" in log and len(log.splitlines()) < 15


def test_empty_cells_are_named_in_a_folded_list_with_the_command_for_their_model(built):
    page, _, folder = built
    assert page.count("<details>") == page.count("</details>") > 20
    listed = "**TeacherLM-560M, stage 2:** Table 1; the hyper-parameters: tokens of stage 2"
    _, _, rest = page.partition(f"{listed}\n\n```bash\n")
    assert rest.startswith("teacherlm train --config=configs/teacher.py:560m/stage2,base=")
    source = (folder / "report.html").read_text()
    assert "<dt>TeacherLM-560M, stage 2</dt><dd>Table 1; the hyper-parameters: tokens" in source
    assert "TeacherLM-1.1B, C</dt>" not in source  # all of its cells are filled


HUMAN = "student/bloomz-7b1/creak/C/human"


def human_student(root, data, manifest):
    """Write a trained and evaluated student whose data has a manifest, or none any more."""
    files.write_json(root / "data" / "human" / "manifest.json", {})
    trained(root, "human", "", "bloom-7b1", stands_for=HUMAN)
    settings = files.read_json(root / "human/config.json")
    settings["config"]["data"] = str(data)
    files.write_json(root / "human/config.json", settings)
    if manifest is not None:
        files.write_json(data / "manifest.json", manifest)
    model = f"{root}/human/checkpoints/best"
    evaluated(root, "e", model, {"creak": measured(0.6, 1371)}, stands_for=HUMAN)


def test_the_data_of_a_trained_student_is_prepared_again_if_its_manifest_is_gone(tmp_path):
    data = tmp_path / "some data" / "student_C"
    human_student(tmp_path / "runs", data, None)
    page = (build(tmp_path / "runs") / "report.md").read_text()
    _, _, given = page.partition("Data of trained students")
    command = next(line for line in given.splitlines() if line.startswith("teacherlm "))
    _, *words = shlex.split(command)
    assert words == [
        "prepare",
        "--config=configs/student_data.py:creak/human",
        f"--config.output={data.parent}",
    ]
    assert main.main([*words, "--validate"]) == 0
    assert "Fills CREAK human of Table 2." in given
    assert f"{HUMAN},model=" not in page  # it is evaluated


@pytest.mark.parametrize(
    ("folder", "manifest", "reason"),
    [
        ("mine", None, "manifest.json is gone; prepare these data again"),
        ("student_C", {"mixture": "student_C"}, "has no tokens of explanations by people"),
    ],
)
def test_a_trained_student_without_explanations_by_people_is_named(
    tmp_path, folder, manifest, reason
):
    human_student(tmp_path / "runs", tmp_path / "data" / folder, manifest)
    page = (build(tmp_path / "runs") / "report.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("> - CREAK human: human ")]
    assert reason in line and line.endswith("with configs/student_data.py:creak/human")
    assert "Data of trained students" not in page


def test_an_evaluation_without_predictions_is_named_beside_the_cell_of_its_options(tmp_path):
    root = tmp_path / "runs"
    model = "student/bloomz-7b1/pretrained"
    evaluated(root, "lost", "m", {"ecqa": measured(0.5, 2194)}, stands_for=model)
    page = (build(root) / "report.md").read_text()
    assert "> - ECQA options: lost has no predictions with scores any more; remove its" in page


def test_figures_say_what_is_not_known_of_the_papers_own(built):
    page, _, folder = built
    assert "do not say what Figures 1 to 3 of the paper show" in page
    for name in ("paper-teachers", "paper-averages", "paper-changes"):
        assert f"figures/{name}.svg" in page
        assert (folder / "figures" / f"{name}.svg").read_text().startswith("<svg")


def test_a_folder_without_runs_gives_a_page_on_which_all_cells_are_empty(tmp_path):
    (tmp_path / "runs").mkdir()
    words = [f"--config.root={tmp_path}/runs", f"--config.output={tmp_path}/report"]
    assert main.main(["report", *words]) == 2  # an ordinary report has nothing to show
    assert main.main(["report", "--paper", *words]) == 0
    assert files.read_json(tmp_path / "report/result.json")["filled"] == 0
    assert "No run stands for a model" in (tmp_path / "report/report.md").read_text()
