"""Recorded outcomes of the study of stages and explanations, and the page that is built of them."""

import re

import pytest

from benchmarks import harness
from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import page, recorded
from teacherlm_jax.storage import files
from tests.evidence_runs import VERSIONS, write_student

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
    for folder in (root / "vocabulary", root / f"student_data/1000/seed-{seed}"):
        files.write_json(folder / "versions.json", VERSIONS)
    files.write_json(root / "vocabulary/result.json", {})


def test_a_seed_is_recorded_when_all_of_its_steps_are_finished(tmp_path, results):
    root = tmp_path / "runs"
    write_seed(root, 0)
    write_seed(root, 1, arms=STUDENTS[:2])
    write_seed(root, 2)
    evidence.record("students", root, range(3))
    record = recorded.read("students")
    assert list(record) == [0, 2]
    assert {(row["arm"], row["seed"]) for row in record[2]["rows"]["students"]} == {
        (arm, 2) for arm in STUDENTS
    }
    shown = page.PAGE.read_text(encoding="utf-8")
    assert "Seeds 0, 2: 0.0 core-hours of training steps on" in shown
    assert "; jax 1.2.3; commit aaaaaaa." in shown
    assert "Not run yet: seeds 1, 3, 4, 5, 6, 7, 8, 9." in shown
    assert "The command is `python -m benchmarks.evidence --parts=students`." in shown
    assert "<!-- sizes -->\n*Not run yet.*\n<!-- /sizes -->" in shown


def test_recorded_outcomes_keep_the_machine_that_they_are_from(tmp_path, results, monkeypatch):
    root = tmp_path / "runs"
    write_seed(root, 0)
    write_seed(root, 1)
    monkeypatch.setattr(harness, "machine", lambda: "one machine")
    evidence.record("students", root, range(1))
    monkeypatch.setattr(harness, "machine", lambda: "another machine")
    evidence.record("students", root, range(2))
    machines = {seed: one["machine"] for seed, one in recorded.read("students").items()}
    assert machines == {0: "one machine", 1: "another machine"}
    write_seed(root, 0, accuracy=0.3)  # run again, with another outcome
    evidence.record("students", root, range(1))
    assert recorded.read("students")[0]["machine"] == "another machine"
    assert recorded.read("students")[0]["rows"]["students"][0]["curve"][-1] == [200, 0.4]


def test_all_commits_of_a_seed_are_named(tmp_path, results):
    root = tmp_path / "runs"
    write_seed(root, 0)
    later = VERSIONS | {"commit": f"{'b' * 40} and changes"}
    files.write_json(root / "student/CMF/1000/seed-0/versions.json", later)
    evidence.record("students", root, range(1))
    assert "commit aaaaaaa, bbbbbbb and changes." in recorded.conditions("students")


def test_the_arms_of_a_part_are_compared_with_the_base_that_was_run_with_them(tmp_path, results):
    for folder, arms in (
        ("one", STUDENTS),
        ("two", ("CMF", *evidence.study_students.ADDED["causes"])),
    ):
        for seed in (0, 1):
            write_seed(tmp_path / folder, seed, arms, accuracy=0.5 if folder == "one" else 0.1)
    evidence.record("students", tmp_path / "one", range(2))
    evidence.record("causes", tmp_path / "two", range(2))
    shown = re.sub(" +", " ", page.PAGE.read_text(encoding="utf-8"))
    # CMF of the first part has 60 and 61, that of the second one 10 and 11.
    assert "| CMF | 2 | 10 | 3.0 | 0.00 | 60.5 |" in shown
    assert "| CMF | 2 | 10 | 3.0 | 0.00 | 10.5 |" in shown
    assert "| CMF-false25 | 2 | 10 | 3.0 | 0.00 | 20.5 | +10.0 ± 0.0 |" in shown


def test_incomplete_parts_are_shown_as_such(tmp_path, results):
    root = tmp_path / "runs"
    for seed in range(10):
        write_seed(root, seed)
    evidence.record("students", root, range(10))
    for seed in range(3):
        write_seed(root, seed, ("text", *evidence.study_students.ADDED["forms"]))
    evidence.record("forms", root, range(3))
    shown = re.sub(" +", " ", page.PAGE.read_text(encoding="utf-8"))
    assert (
        "| H1: CMF - text, equal passes | +10.0 ± 0.0 | 10 | 0.002 | 0.010 | supported |" in shown
    )
    assert re.search(r"\| students: CMF - text \(H1\) .*\| supported \| students \|", shown)
    assert re.search(r"\| students: C - text .*\| incomplete \| forms \|", shown)
    assert "| text | 3 | 10 | 3.0 | 0.00 | 51.0 |" in shown  # of the three seeds
    # Eight arms at two budgets, with the three seeds that all of them have.
    drawing = (results / "evidence-students.svg").read_text(encoding="utf-8")
    assert len(re.findall(r'aria-roledescription="point"', drawing)) == 2 * 8
    assert not (results / "evidence-stages.svg").exists(), "no teacher has outcomes"


def test_core_hours_are_those_of_all_training_runs():
    kinds = {kind: [] for kind in recorded.KINDS}
    trained = {kind: [{"seconds": 1800}] for kind in ("students", "bases", "teachers")}
    real = [{"seconds": 1800, "benchmark": name} for name in ("creak_held_out", "ecqa_held_out")]
    assert recorded.core_hours(kinds | trained | {"real": real}) == 2.0


def test_seeds_are_put_into_words():
    assert recorded.seeds_in_words([3]) == "seed 3"
    assert recorded.seeds_in_words([3, 4, 5]) == "seeds 3 to 5"
    assert recorded.seeds_in_words([0, 2, 3]) == "seeds 0, 2, 3"
