"""Recorded outcomes of the study of stages and explanations, and the page that is built of them."""

import re

import pytest

from benchmarks import harness
from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import figures, page, recorded, samples
from teacherlm_jax.pipelines.evidence_steps import study_students, study_teachers
from teacherlm_jax.storage import files
from tests.evidence_runs import (
    VERSIONS,
    write_explanations,
    write_run,
    write_student,
    write_teacher,
)

STUDENTS = ("text", "CMF", "CMF-permuted")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Return the folder of the results; the page is a copy in it."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "evidence.md").write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", folder / "evidence.md")
    monkeypatch.setattr(harness, "RESULTS", folder)
    return folder


def write_seed(root, seed, arms=STUDENTS, accuracy=0.5):
    for index, arm in enumerate(arms):
        write_student(root, arm, seed, (0.4, accuracy + index / 10 + seed / 100))
    write_run(root, "vocabulary", {})


def record(part, root, seeds, *, replace=False):
    evidence.record(part, root, seeds, replace=replace)


def result_of(folder):
    return files.read_json(folder / "result.json")


def shown_page():
    """Return the page with one space around each cell."""
    return re.sub(" +", " ", page.PAGE.read_text(encoding="utf-8"))


def test_a_seed_is_recorded_when_all_of_its_steps_are_finished(tmp_path, results, capsys):
    root = tmp_path / "runs"
    write_seed(root, 0)
    write_seed(root, 1, arms=STUDENTS[:2])
    write_seed(root, 2)
    record("students", root, range(3))
    assert "students: seeds 0, 2 recorded; seed 1 not finished\n" in capsys.readouterr().out
    records = recorded.read("students")
    assert list(records) == [0, 2]
    assert {(row["arm"], row["seed"]) for row in records[2]["rows"]["students"]} == {
        (arm, 2) for arm in STUDENTS
    }
    assert records[2]["training_seconds"] == 4.5
    shown = shown_page()
    assert "Seeds 0, 2: 0.0 core-hours of training steps; recorded on" in shown
    assert "; jax 1.2.3; commit aaaaaaa." in shown
    assert "Not run yet: seeds 1, 3, 4, 5, 6, 7, 8, 9." in shown
    assert "The command is `python -m benchmarks.evidence --parts=students`." in shown


def test_a_run_with_other_settings_does_not_count(tmp_path, results, capsys):
    root = tmp_path / "runs"
    write_seed(root, 0)
    folder = root / "student/CMF/1000/seed-0"
    write_run(root, folder.relative_to(root).as_posix(), result_of(folder), suffix=",tiny")
    record("students", root, range(1))
    assert not recorded.read("students")
    shown = capsys.readouterr().out
    assert "students: seed 0 not recorded: " in shown
    assert "warmup_steps=6, but now config.optimizer.warmup_steps=50" in shown


def test_a_damaged_run_keeps_only_its_own_seed_from_being_recorded(tmp_path, results, capsys):
    root = tmp_path / "runs"
    write_seed(root, 0)
    write_seed(root, 1)
    write_student(root, "M", 1, (0.4, 0.5))  # of another part
    damaged = [root / f"student/{arm}/1000/seed-{seed}" for arm, seed in (("CMF", 0), ("M", 1))]
    for folder in damaged:
        (folder / "validation.jsonl").write_text('{"step": 100, "test/acc\n', encoding="utf-8")
    record("students", root, range(2))
    shown = capsys.readouterr().out
    assert f"students: seed 0 not recorded: {damaged[0]}/validation.jsonl:1: not JSON" in shown
    assert f"; delete {damaged[0]} and repeat the command; seed 1 recorded\n" in shown
    assert list(recorded.read("students")) == [1]


def test_the_page_is_rebuilt_by_its_command(results):
    assert evidence.main(["--page"]) == 0
    assert "| H1: CMF - text, equal passes | | 0 | | | no outcomes |" in shown_page()


def test_seeds_that_are_recorded_already_are_announced(tmp_path, results, monkeypatch, capsys):
    write_seed(tmp_path, 0)
    record("students", tmp_path, range(1))
    monkeypatch.setattr(evidence, "run", lambda part, options: 7)
    monkeypatch.setattr(samples, "write_all", lambda root, seeds: None)
    words = ["--parts=students", "--first=0", "--seeds=2", f"--folder={tmp_path}"]
    assert evidence.main(words) == 7
    shown = capsys.readouterr().out
    assert "students: seed 0 already recorded. This run only prints their new outcomes" in shown
    assert evidence.main([*words, "--replace"]) == 7
    assert "This run only prints" not in capsys.readouterr().out


def test_a_folder_that_was_moved_can_be_recorded(tmp_path, results):
    write_seed(tmp_path / "before", 0)
    (tmp_path / "before").rename(tmp_path / "after")
    record("students", tmp_path / "after", range(1))
    assert list(recorded.read("students")) == [0]


def test_a_part_with_teachers_is_recorded(tmp_path, results):
    root = tmp_path / "runs"
    write_run(root, "vocabulary", {})
    write_run(root, "stage_data/seed-0", {})
    for index, stage in enumerate(study_teachers.STEPS):
        write_teacher(root, "medium", stage, 0, 0.5 + index / 100, 0.4)
    for index, writer in enumerate(study_teachers.WRITERS):
        correct = {"cot": 10 + index, "fundamental": 20, "mistake": 30}
        write_explanations(root, "explain", "medium", writer, 0, correct)
    record("stages", root, range(1))
    one = recorded.read("stages")[0]
    assert one["training_seconds"] == 1.5 * 6
    assert len(one["rows"]["teachers"]) == 6 and len(one["rows"]["explained"]) == 3
    assert "| medium, 7 | stage 2 - control | 1 | -4.0 |" in shown_page()


def test_recorded_seeds_are_replaced_on_request_only(tmp_path, results, monkeypatch, capsys):
    root = tmp_path / "runs"
    write_seed(root, 0)
    write_seed(root, 1)
    monkeypatch.setattr(harness, "machine", lambda: "one machine")
    record("students", root, range(1))
    monkeypatch.setattr(harness, "machine", lambda: "another machine")
    write_seed(root, 0, accuracy=0.3)  # run again, with another outcome
    record("students", root, range(2))
    records = recorded.read("students")
    machines = {seed: one["machine"] for seed, one in records.items()}
    assert machines == {0: "one machine", 1: "another machine"}
    assert records[0]["rows"]["students"][0]["curve"][-1] == [200, 0.6]
    assert (
        "seed 0 already recorded (--replace records them again); seed 1 recorded"
        in capsys.readouterr().out
    )
    record("students", root, range(2), replace=True)
    assert recorded.read("students")[0]["machine"] == "another machine"
    assert recorded.read("students")[0]["rows"]["students"][0]["curve"][-1] == [200, 0.4]


def test_all_commits_of_a_seed_are_named(tmp_path, results):
    root = tmp_path / "runs"
    write_seed(root, 0)
    resumed = VERSIONS | {
        "commit": f"{'b' * 40}+changes",
        "before": [VERSIONS | {"commit": "c" * 40}],
    }
    files.write_json(root / "student/CMF/1000/seed-0/versions.json", resumed)
    record("students", root, range(1))
    assert "commit aaaaaaa, bbbbbbb+changes, ccccccc." in recorded.conditions(
        "students", recorded.read("students")
    )


@pytest.mark.parametrize(("part", "base"), [("causes", "CMF"), ("forms", "text")])
def test_a_part_is_compared_with_the_base_that_was_run_with_it(part, base, tmp_path, results):
    arms = (base, *study_students.ADDED[part])
    for seed in (0, 1):
        write_seed(tmp_path / "one", seed)
        write_seed(tmp_path / "two", seed, arms, accuracy=0.1)
    record("students", tmp_path / "one", range(2))
    record(part, tmp_path / "two", range(2))
    shown = shown_page()
    # The base of the part has 10 and 11 percent, and its first arm 20 and 21.
    assert f"| {base} | 2 | 10 | 3.0 | 0.00 | 10.5 |" in shown
    assert f"| {arms[1]} | 2 | 10 | 3.0 | 0.00 | 20.5 | +10.0 ± 0.0 |" in shown
    other = {"text": "CMF", "CMF": "text"}[base]
    expected = f"The students of `{other}` are those of the part `students`."
    assert expected in recorded.conditions(part, recorded.read(part))
    question = {one.name: one for one in figures.questions(recorded.rows_of(recorded.read_all()))}[
        {"forms": "students"}.get(part, part)
    ]
    assert [p["mean"] for p in question.points if p["name"] == arms[1]] == pytest.approx([10, 10])
    if part == "forms":
        assert "| students: C - text | passes | +2.1 (+0.6 to +3.4) | +10.0 (" in shown
    # A seed without its own base: the other base is taken for all seeds.
    path = results / "evidence" / part / "seed-1.json"
    one = files.read_json(path)
    files.write_json(path, one | {"rows": one["rows"] | {"bases": []}})
    evidence.rebuild()
    assert f"| {base} | 2 | 10 | 3.0 | 0.00 | 10.5 |" not in shown_page()
    expected = f"The students of `{base}` and `{other}` are those of the part `students`."
    assert expected in recorded.conditions(part, recorded.read(part))


def test_incomplete_parts_are_shown_as_such(tmp_path, results):
    root = tmp_path / "runs"
    for seed in range(10):
        write_seed(root, seed)
    record("students", root, range(10))
    for seed in range(3):
        write_seed(root, seed, ("text", *study_students.ADDED["forms"]))
    record("forms", root, range(3))
    shown = shown_page()
    assert (
        "| H1: CMF - text, equal passes | +10.0 ± 0.0 | 10 | 0.002 | 0.010 | supported |" in shown
    )
    assert re.search(r"\| students: CMF - text \(H1\) .*\| supported \| students \|", shown)
    assert re.search(r"\| students: C - text .*\| incomplete \| forms \|", shown)
    assert "| text | 3 | 10 | 3.0 | 0.00 | 51.0 |" in shown  # of the three seeds
    assert "](evidence-students.svg)" in shown
    drawing = (results / "evidence-students.svg").read_text(encoding="utf-8")
    # Eight arms at two budgets.
    assert len(re.findall(r'aria-roledescription="point"', drawing)) == 2 * 8


def test_places_without_outcomes_are_cleared(results):
    (results / "evidence-stages.svg").write_text("old", encoding="utf-8")
    evidence.rebuild()
    shown = shown_page()
    for name in ("students", "sizes", "course"):
        assert f"<!-- {name} -->\n*Not run yet.*\n<!-- /{name} -->" in shown
    assert "<!-- figure-stages -->\n<!-- /figure-stages -->" in shown
    assert not (results / "evidence-stages.svg").exists()
    assert "| H1: CMF - text, equal passes | | 0 | | | no outcomes |" in shown
    assert re.search(r"students: CMF - text \(H1\) .* not run yet \| \| students \|", shown)


def test_seeds_are_put_into_words():
    assert recorded.seeds_in_words([3]) == "seed 3"
    assert recorded.seeds_in_words([3, 4, 5]) == "seeds 3 to 5"
    assert recorded.seeds_in_words([0, 2, 3]) == "seeds 0, 2, 3"
