"""The study of stages and explanations: its pipelines, what it records, and its page."""

import collections
import pathlib
import re

import pytest

from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import outcomes, page, real_samples, recorded, samples, tables
from teacherlm_jax.cli import config_file
from teacherlm_jax.config import fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.evidence_steps import study_students
from teacherlm_jax.storage import files

CONFIGS = config_file.load(pathlib.Path(__file__).parents[1] / "configs" / "evidence.py")


@pytest.mark.parametrize(
    "form",
    [
        *("students", "forms", "amounts", "stages", "sizes", "causes", "taught", "real"),
        *("students,short", "stages,short", "causes,short", "causes,tiny", "taught,tiny"),
    ],
)
def test_every_step_has_a_config_that_writes_to_its_folder(form):
    pipeline = CONFIGS.get_config(form)
    assert not list(fields.problems(pipeline, "config"))
    for step in pipeline.steps:
        settings = CONFIGS.get_config(step.config.partition(":")[2])
        assert settings.output == step.output
        assert not list(fields.problems(settings, "config"))


@pytest.mark.parametrize(
    ("part", "base"),
    [
        *(("students", "text"), ("forms", "text"), ("causes", "CMF")),
        *(("taught", "taught-CMF"), ("taught", "taught-stage2")),
    ],
)
def test_a_part_trains_the_arm_that_others_are_compared_with(part, base):
    steps = [step.name for step in CONFIGS.get_config(f"{part},seeds=1").steps]
    assert f"student/{base}/1000/seed-0" in steps


def test_outcomes_are_read_from_run_folders(tmp_path):
    run = tmp_path / "student/CMF/10/seed-4"
    figures = {"steps": 2, "tokens": 900, "parameters": 7, "seconds": 1.5}
    files.write_json(run / "result.json", figures)
    files.write_jsonl(run / "validation.jsonl", [{"step": 2, "test/accuracy": 0.5}])
    data = {"mixtures": {"CMF": {"texts": 10, "tokens": 300}}}
    files.write_json(tmp_path / "student_data/10/seed-4/result.json", data)
    assert outcomes.students(tmp_path) == [
        {
            "arm": "CMF",
            "amount": 10,
            "seed": 4,
            "curve": [(2, 0.5)],
            "samples": 10,
            "pass_tokens": 300,
            **figures,
        }
    ]


def write_student(root, arm, seed, accuracies, amount=1000):
    run = root / f"student/{arm}/{amount}/seed-{seed}"
    figures = {"steps": 200, "tokens": 900, "parameters": 7, "seconds": 1.5}
    files.write_json(run / "result.json", figures)
    steps = (100, 200)
    rows = [{"step": s, "test/accuracy": a} for s, a in zip(steps, accuracies, strict=True)]
    files.write_jsonl(run / "validation.jsonl", rows)
    data = {
        "mixtures": {
            key: {"texts": 10, "tokens": 300}
            for key in ("text", "CMF", "CMF-permuted", "CMF-false25")
        }
    }
    files.write_json(root / f"student_data/{amount}/seed-{seed}/result.json", data)


def test_a_part_adds_its_own_arms(tmp_path):
    for arm in ("text", "CMF", "CMF-permuted", "CMF-false25"):
        for seed in (0, 1000):
            write_student(tmp_path, arm, seed, (0.5, 0.6))
    write_student(tmp_path, "text", 0, (0.5, 0.6), amount=250)

    def found(part, seeds):
        rows = evidence.added(part, evidence.rows_of(tmp_path, seeds))["students"]
        return [(row["arm"], row["amount"], row["seed"]) for row in rows]

    assert found("students", range(8)) == [
        ("CMF", 1000, 0), ("CMF-permuted", 1000, 0), ("text", 1000, 0),
    ]  # fmt: skip
    assert found("causes", range(1000, 1001)) == [("CMF-false25", 1000, 1000)]
    assert found("amounts", range(8)) == [("text", 250, 0)]
    assert found("stages", range(8)) == []


def test_every_outcome_is_added_by_one_part():
    students = [
        {"arm": arm, "amount": amount, "seed": 0}
        for arms, amounts in (
            (study_students.ARMS | study_students.TAUGHT_ARMS, (1000,)),
            (study_students.MAIN_ARMS, study_students.AMOUNTS),
        )
        for arm in arms
        for amount in amounts
    ]
    sizes = [{"size": size, "seed": 0} for size in ("small", "medium", "large")]
    rows = {"students": students, "teachers": sizes, "explained": sizes, "written": sizes[:1]}
    rows["real"] = [{"arm": "C", "benchmark": "creak", "seed": 0}]
    parts = [evidence.added(part, rows) for part in evidence.PARTS]
    for name, every in rows.items():
        found = [row for part in parts for row in part[name]]
        assert sorted(map(str, found)) == sorted(map(str, every))


def test_the_tables_show_differences_with_intervals(tmp_path):
    for seed, gain in enumerate((0.1, 0.2)):
        write_student(tmp_path, "text", seed, (0.4, 0.5))
        write_student(tmp_path, "CMF", seed, (0.4, 0.5 + gain))
    rows = evidence.rows_of(tmp_path, range(2))
    lines = tables.TABLES["students"](rows).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0][:4] == ["arm", "samples", "accuracy, %", "equal steps"]
    assert cells[2][:4] == ["text", "10", "50.0", ""]
    # Student's t of one degree of freedom: 12.7.
    assert cells[3][:4] == ["CMF", "10", "65.0", "+15.0 ± 63.5"]
    primary = tables.TABLES["primary"](rows)
    assert "| H1: CMF against text, equal passes | +15.0 ± 63.5" in re.sub(" +", " ", primary)
    assert "0.500" in primary  # two seeds cannot show more
    assert "| 2 | 0.500 | 1.000 | incomplete |" in re.sub(" +", " ", primary)  # of five
    assert "H4" not in primary  # no teachers yet


@pytest.mark.parametrize(
    "name",
    [
        *("student/CMZ/1000/seed-0", "student/CMF/500/seed-0", "student/taught-CMF/250/seed-0"),
        *("teacher/small/stage2", "stage_data/7", "taught_data/no_stage/seed-0"),
        *("write/small/stage2/seed-0", "real/CMF/seed-0"),
    ],
)
def test_a_step_that_the_study_lacks_is_refused_with_examples(name):
    with pytest.raises(UserError, match=f"unknown variant '{name}'; known: students, forms"):
        CONFIGS.get_config(name)


@pytest.mark.parametrize(
    ("words", "folder", "seeds", "parts"),
    [
        ([], "runs/evidence", range(10), list(evidence.PARTS[:-1])),
        (["--parts=forms"], "runs/evidence", range(10), ["forms"]),
        (["--short"], "runs/evidence_pilot", range(1000, 1004), []),
        (["--tiny"], "runs/evidence_tiny", range(1000, 1001), []),
        (["--seeds=3"], "runs/evidence_pilot", range(1000, 1003), []),
        (["--first=1010", "--folder=x"], "x", range(1010, 1020), []),
        (["--parts=forms", "--first=5", "--seeds=5"], "runs/evidence", range(5, 10), ["forms"]),
    ],
)
def test_only_the_seeds_of_the_protocol_are_recorded(words, folder, seeds, parts, monkeypatch):
    written, seen = [], {}
    monkeypatch.setattr(evidence, "run", lambda part, options: seen.setdefault("run", options))
    monkeypatch.setattr(real_samples, "write_all", lambda folder, data: None)
    monkeypatch.setattr(samples, "write_all", lambda root, given: seen.update(drawn=(root, given)))
    monkeypatch.setattr(recorded, "add", lambda part, rows, given: written.append((part, given)))
    monkeypatch.setattr(evidence, "rebuild", lambda: None)
    monkeypatch.setattr(tables, "TABLES", collections.defaultdict(lambda: lambda rows: ""))
    monkeypatch.setattr(evidence, "rows_of", lambda *given: collections.defaultdict(list))
    assert evidence.main(words) == 0
    assert seen["drawn"] == (pathlib.Path(folder) / "samples", seeds)
    assert seen["run"].first == seeds.start
    assert written == [(part, seeds) for part in parts]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--parts=stage"], "unknown part 'stage'"),
        (["--parts=real", "--data=d"], "--parts=real: the protocol of this part is not finished"),
        (["--parts=real", "--seeds=2"], "--parts=real: needs --data=FOLDER"),
        (["--short", "--first=0"], "also with --short and --tiny, need --first=1000 or more"),
        (["--seeds=2", "--first=9"], "--first=9 --seeds=2: the seeds that count are 0 to 9"),
        (["--seeds=2", "--first=-1"], "--first=-1 --seeds=2: the seeds that count are 0 to 9"),
        (["--seeds=0"], "--seeds=0: expected 1 or more"),
    ],
)
def test_runs_that_the_protocol_does_not_allow_are_refused(words, fault, capsys):
    with pytest.raises(SystemExit):
        evidence.main(words)
    assert fault in capsys.readouterr().err


def test_the_page_is_rebuilt_from_recorded_outcomes(tmp_path, monkeypatch):
    for seed in (0, 1):
        write_student(tmp_path, "text", seed, (0.4, 0.5))
        write_student(tmp_path, "CMF", seed, (0.4, 0.6))
    target = tmp_path / "evidence.md"
    target.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", target)
    monkeypatch.setattr(evidence.harness, "RESULTS", tmp_path)
    rows = evidence.rows_of(tmp_path, range(2))
    for part in ("students", "forms"):
        recorded.add(part, evidence.added(part, rows), range(2))
    evidence.rebuild()
    shown = target.read_text(encoding="utf-8")
    assert "](evidence-students.svg)" in shown
    assert "The trainings of seeds 0 to 1 took 0.0 hours of one core." in shown
    assert "Not run yet: seeds 2 to 9." in shown
    drawing = (tmp_path / "evidence-students.svg").read_text(encoding="utf-8")
    # One amount and two budgets: a point and its interval in each of the two panels.
    assert len(re.findall(r'aria-roledescription="point"', drawing)) == 2
    assert "| H2: CMF against text, equal tokens" in shown
    assert re.search(r"CMF - text \(H1\) .* incomplete +\| students \(0.0\)", shown)
    assert not (tmp_path / "evidence-stages.svg").exists(), "no teacher has outcomes"
    assert "<!-- sizes -->\n*Not run yet.*\n<!-- /sizes -->" in shown


def test_outcomes_of_a_part_are_recorded_a_few_seeds_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence.harness, "RESULTS", tmp_path)

    def add(accuracy, *seeds):
        students = [
            {"arm": "C", "amount": 1000, "seed": seed, "curve": [[1, accuracy]], "seconds": 1800}
            for seed in seeds
        ]
        recorded.add("forms", {"students": students, "teachers": []}, seeds)

    add(0.1, *range(4))
    add(0.2, 3, 9)
    record = recorded.read("forms")
    accuracies = {row["seed"]: row["curve"][0][1] for row in record["rows"]["students"]}
    assert accuracies == {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.2, 9: 0.2}
    assert [run["seeds"] for run in record["runs"]] == [[0, 1, 2], [3, 9]]
    lines = recorded.conditions(record).split("\n\n")
    assert lines[0] == "The trainings of seeds 0 to 2 took 1.5 hours of one core."
    assert lines[2] == "The trainings of seeds 3, 9 took 1.0 hours of one core."
    assert lines[-1] == "Not run yet: seeds 4 to 8.\n"
    add(0.3, *range(10))
    assert [run["seeds"] for run in recorded.read("forms")["runs"]] == [[*range(10)]]
    assert "Not run yet" not in recorded.conditions(recorded.read("forms"))
