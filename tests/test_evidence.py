"""The study of stages and explanations: its pipelines, its outcomes, and its command line."""

import collections
import os
import pathlib
import signal

import pytest

from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import comparisons, options, outcomes, real_samples, samples, tables
from teacherlm_jax.cli import config_file
from teacherlm_jax.config import fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.evidence_steps import (
    study,
    study_real,
    study_students,
    study_teachers,
)
from teacherlm_jax.pipelines.evidence_steps.parts import PARTS
from teacherlm_jax.storage import files
from tests.evidence_runs import write_explanations, write_student, write_teacher

CONFIGS = config_file.load(pathlib.Path(__file__).parents[1] / "configs" / "evidence.py")


@pytest.mark.parametrize(
    "form",
    [
        *(
            "students",
            "forms",
            "amounts",
            "stages",
            "sizes",
            "restarts",
            "causes",
            "taught",
            "real",
        ),
        *("students,short", "stages,short", "causes,short", "causes,tiny", "taught,tiny"),
        "real,short",
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
        *(("taught", "taught-text"), ("taught", "taught-CMF")),
        *(("taught", "taught-stage2"), ("taught", "taught-each")),
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
    assert outcomes.below(tmp_path, [4])["students"] == [
        {
            "arm": "CMF",
            "amount": 10,
            "seed": 4,
            "curve": [(2, 0.5)],
            "texts": 10,
            "pass_tokens": 300,
            **figures,
        }
    ]


def test_outcomes_of_teachers_and_of_their_explanations_are_read_from_run_folders(tmp_path):
    write_teacher(tmp_path, "small", "stage2", 3, trained=0.8, unseen=0.4)
    correct = {"cot": 10, "fundamental": 20, "mistake": 30}
    write_explanations(tmp_path, "explain", "small", "no_stage", 3, correct)
    write_explanations(tmp_path, "write", "medium", "stage2", 4, correct)
    rows = outcomes.below(tmp_path, [3, 4])
    assert rows["teachers"] == [
        {"size": "small", "stage": "stage2", "seed": 3, "trained": 0.8, "unseen": 0.4}
        | {"steps": 200, "tokens": 900, "parameters": 7, "seconds": 1.5}
    ]
    shares = {"cot": 0.1, "fundamental": 0.2, "mistake": 0.3}
    own = {"size": "small", "writer": "no_stage", "seed": 3, "correct": shares}
    assert rows["explained"] == [own]
    assert rows["written"] == [own | {"size": "medium", "writer": "stage2", "seed": 4}]


def test_students_on_real_questions_are_compared_although_a_text_of_one_arm_was_too_long(tmp_path):
    texts = {"text": 3, "C": 2, "C-permuted": 3}
    mixtures = {arm: {"texts": count, "tokens": 300} for arm, count in texts.items()}
    files.write_json(tmp_path / "real_data/result.json", {"mixtures": mixtures})
    for name in ("train", *study_real.BENCHMARKS):
        rows = [{"answer": letter} for letter in ("(A)", "(B)", "(B)")]
        files.write_jsonl(tmp_path / f"samples/real/{name}.jsonl", rows)
    figures = {"steps": 2, "tokens": 900, "parameters": 7, "seconds": 1.5}
    for arm, accuracy in (("text", 0.5), ("C", 0.75)):
        run = tmp_path / f"real/{arm}/seed-4"
        files.write_json(run / "result.json", figures)
        measured = {f"{name}/accuracy": accuracy for name in study_real.BENCHMARKS}
        files.write_jsonl(run / "validation.jsonl", [{"step": 2, **measured}])
    rows = [row for row in outcomes.below(tmp_path, [4])["real"] if row["benchmark"] == "ecqa"]
    digests = [
        files.file_digest(tmp_path / f"samples/real/{name}.jsonl") for name in ("train", "ecqa")
    ]
    assert rows[0] == {
        "arm": "C",
        "benchmark": "ecqa",
        "digests": digests,
        "seed": 4,
        "curve": [(2, 0.75)],
        "amount": 3,
        "texts": 2,
        "pass_tokens": 300,
        "questions": 3,
        "majority": 2 / 3,
        **figures,
    }
    comparison = comparisons.of_arms(rows, "C", "text", 3, "steps")
    assert comparison.differences == (25.0,)


def test_a_part_adds_its_own_arms(tmp_path):
    for arm in ("text", "CMF", "CMF-permuted", "CMF-false25"):
        for seed in (0, 1000):
            write_student(tmp_path, arm, seed, (0.5, 0.6))
    write_student(tmp_path, "text", 0, (0.5, 0.6), amount=250)

    def found(part, seeds):
        rows = outcomes.added(part, outcomes.below(tmp_path, seeds))["students"]
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
    sizes, restarted = ("small", "medium", "large"), study_teachers.RESTARTED
    teachers = [
        {"size": size, "stage": stage, "seed": 0}
        for size in sizes
        for stage in study_teachers.STEPS
        if size == "large" or stage not in study_teachers.DATA
    ]
    writers = [
        {"size": size, "writer": writer, "seed": 0}
        for size in sizes
        for writer in study_teachers.WRITERS
    ]
    explained = [*writers, {"size": "large", "writer": restarted, "seed": 0}]
    rows = {
        "students": students,
        "teachers": teachers,
        "explained": explained,
        "written": writers[:1],
    }
    rows["real"] = [{"arm": "C", "benchmark": "creak", "seed": 0}]
    added = [outcomes.added(part, rows) for part in PARTS]
    for name, every in rows.items():
        found = [row for part in added for row in part[name]]
        assert sorted(map(str, found)) == sorted(map(str, every))


def test_a_part_has_the_base_that_its_arms_are_compared_with(tmp_path):
    for arm in ("text", "CMF", "CMF-false25"):
        write_student(tmp_path, arm, 0, (0.5, 0.6))
    rows = outcomes.below(tmp_path, [0])
    bases = {part: outcomes.added(part, rows)["bases"] for part in ("students", "forms", "causes")}
    assert {part: [row["arm"] for row in found] for part, found in bases.items()} == {
        "students": [],
        "forms": ["text"],
        "causes": ["CMF"],
    }


def test_the_tables_show_differences_with_intervals(tmp_path):
    for seed, gain in enumerate((0.1, 0.2)):
        write_student(tmp_path, "text", seed, (0.4, 0.5))
        write_student(tmp_path, "CMF", seed, (0.4, 0.5 + gain))
    rows = outcomes.below(tmp_path, range(2))
    lines = tables.TABLES["students"](rows).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0][:7] == [
        *("arm", "seeds", "texts", "passes", "million tokens", "accuracy, %", "equal steps")
    ]
    assert cells[2][:7] == ["text", "2", "10", "3.0", "0.00", "50.0", ""]
    # Student's t of one degree of freedom: 12.7.
    assert cells[3][:7] == ["CMF", "2", "10", "3.0", "0.00", "65.0", "+15.0 ± 63.5"]


@pytest.mark.parametrize(
    "name",
    [
        *("student/CMZ/1000/seed-0", "student/CMF/500/seed-0", "student/taught-CMF/250/seed-0"),
        *("teacher/small/stage2", "stage_data/7", "taught_data/no_stage/seed-0"),
        *("write/small/stage2/seed-0", "real/CMF/seed-0"),
    ],
)
def test_a_step_that_the_study_lacks_is_refused_with_examples(name):
    with pytest.raises(
        UserError, match=f"unknown variant '{name}'; known: students, stages, forms"
    ):
        CONFIGS.get_config(name)


@pytest.mark.parametrize(
    ("words", "folder", "seeds", "parts"),
    [
        ([], "runs/evidence", range(10), [part for part in PARTS if part != "real"]),
        (["--data=d"], "runs/evidence", range(10), PARTS),
        (["--parts=forms"], "runs/evidence", range(10), ["forms"]),
        (["--parts=real", "--data=d"], "runs/evidence", range(10), ["real"]),
        (["--short"], "runs/evidence_short", range(1000, 1004), []),
        (["--tiny"], "runs/evidence_tiny", range(1000, 1001), []),
        (["--seeds=3"], "runs/evidence_pilot", range(1000, 1003), []),
        (["--first=1010", "--folder=./x/"], "x", range(1010, 1020), []),
        (["--parts=forms", "--first=5"], "runs/evidence", range(5, 10), ["forms"]),
        (["--parts=forms", "--first=2", "--seeds=3"], "runs/evidence", range(2, 5), ["forms"]),
    ],
)
def test_only_the_seeds_of_the_protocol_are_recorded(
    words, folder, seeds, parts, monkeypatch, capsys
):
    written, seen = [], {}

    def run(part, options):
        seen["run"] = options
        return 0

    monkeypatch.setattr(evidence, "run", run)
    monkeypatch.setattr(real_samples, "write_all", lambda folder, data: {"creak": {"no answer": 3}})
    monkeypatch.setattr(samples, "write_all", lambda root, given: seen.update(drawn=(root, given)))
    monkeypatch.setattr(evidence, "record", lambda *given, replace: written.append(given))
    monkeypatch.setattr(tables, "TABLES", collections.defaultdict(lambda: lambda rows: ""))
    assert evidence.main(words) == 0
    unused = "creak: 3 rows of the training file are not used: no answer\n"
    assert (unused in capsys.readouterr().out) == ("--data=d" in words)
    root = pathlib.Path(folder)
    assert seen["drawn"] == (root / "samples", seeds)
    run = seen["run"]
    drawn = study.chosen_seeds(run.first, run.seeds, short=run.short, tiny=run.tiny)
    assert drawn == seeds, "the pipeline has the seeds whose samples were written"
    assert written == [(part, root, seeds) for part in parts]


def test_the_short_form_trains_students_of_few_samples_for_half_of_the_steps():
    assert options.parse(["--short"]).parts == ("amounts",)
    long, short = (
        [step for step in CONFIGS.get_config(form).steps if step.verb == "train"]
        for form in ("amounts,seeds=4", "amounts,seeds=4,short")
    )
    assert len(short) == 3 * 4 and len(long) == 2 * len(short)
    chosen = CONFIGS.get_config(short[0].config.partition(":")[2])
    whole = CONFIGS.get_config(long[0].config.partition(":")[2])
    assert short[0].name == long[0].name == "student/text/250/seed-0"
    assert (chosen.steps, whole.steps) == (3600, 7200)
    assert chosen.validation.every == whole.validation.every == 400


def test_a_folder_without_the_real_files_is_refused_in_one_line(tmp_path, capsys):
    words = ["--parts=real", f"--data={tmp_path}", "--tiny", f"--folder={tmp_path / 'runs'}"]
    assert evidence.main(words) == 2
    error = capsys.readouterr().err
    missing = tmp_path / "rationale/creak_train.jsonl"
    assert error.startswith(f"--data={tmp_path}: {missing}: no file matches")
    assert error.count("\n") == 1


def test_a_folder_with_other_samples_is_refused_in_one_line(tmp_path, capsys):
    path = tmp_path / "samples/vocabulary.jsonl"
    files.write_jsonl(path, [{"question": "of another version"}])
    assert evidence.main(["--parts=forms", "--tiny", f"--folder={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{path}: has other samples than this version of the study draws")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--parts=stage"], "unknown part 'stage'; expected some of students,stages"),
        (["--parts=real"], "--parts=real: needs --data=FOLDER"),
        (["--parts=forms", "--data=d"], "--data=d: only the part real reads it"),
        (["--short", "--data=d"], "--data=d: only the part real reads it"),
        (["--parts=real", "--seeds=2"], "--parts=real: needs --data=FOLDER"),
        (["--short", "--first=0"], "for a pilot, also with --short or --tiny, use --first=1000"),
        (["--seeds=2", "--first=9"], "--first=9 --seeds=2: the seeds of the protocol are 0 to 9"),
        (["--first=-1"], "--first=-1: the seeds of the protocol are 0 to 9"),
        (["--first=10"], "--first=10: the seeds of the protocol are 0 to 9"),
        (["--seeds=0"], "--seeds=0: expected 1 or more"),
        (["--short", "--seeds=10"], "--seeds=10: expected 1 to 4"),
        (["--tiny", "--seeds=2"], "--seeds=2: expected 1 to 1"),
        (["--tiny", "--replace"], "--replace: a pilot records nothing"),
        (["--page", "--seeds=2"], "--page: rebuilds the page of all parts and seeds"),
    ],
)
def test_runs_that_the_protocol_does_not_allow_are_refused(words, fault, capsys):
    with pytest.raises(SystemExit):
        evidence.main(words)
    assert fault in capsys.readouterr().err


class StoppedPipeline:
    """A pipeline during which this process gets SIGTERM."""

    def __init__(self, command, environment):
        self.command, self.signals = command, []
        StoppedPipeline.last = self

    def send_signal(self, number):
        self.signals.append(number)

    def wait(self):
        os.kill(os.getpid(), signal.SIGTERM)
        assert self.signals == [signal.SIGTERM]
        return 0  # it had just finished


def test_a_signal_reaches_the_pipeline_and_is_the_exit_status(monkeypatch):
    monkeypatch.setattr(evidence, "TiedProcess", StoppedPipeline)
    assert evidence.run("forms", options.parse(["--seeds=1"])) == 128 + signal.SIGTERM
    assert any(
        word.endswith(":forms,root=runs/evidence_pilot,seeds=1,first=1000")
        for word in StoppedPipeline.last.command
    )


class LatePipeline(StoppedPipeline):
    """A pipeline that is still starting when this process gets SIGTERM."""

    def __init__(self, command, environment):
        os.kill(os.getpid(), signal.SIGTERM)
        super().__init__(command, environment)

    def wait(self):
        assert self.signals == [signal.SIGTERM]
        return 0


def test_a_signal_reaches_a_pipeline_that_was_starting(monkeypatch):
    monkeypatch.setattr(evidence, "TiedProcess", LatePipeline)
    assert evidence.run("forms", options.parse(["--seeds=1"])) == 128 + signal.SIGTERM


def test_after_a_pipeline_that_failed_its_finished_seeds_are_recorded(monkeypatch):
    recorded_parts = []
    monkeypatch.setattr(evidence, "run", lambda part, options: 7)
    monkeypatch.setattr(samples, "write_all", lambda root, given: None)
    monkeypatch.setattr(
        evidence, "record", lambda part, *given, replace: recorded_parts.append(part)
    )
    assert evidence.main(["--parts=forms,causes"]) == 7
    assert recorded_parts == ["forms"]
