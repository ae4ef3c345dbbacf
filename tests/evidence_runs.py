"""Run folders of the study of stages and explanations, as its steps leave them."""

import dataclasses

from benchmarks.evidence import recorded
from teacherlm_jax.cli import config_file
from teacherlm_jax.pipelines.evidence_steps import study_students
from teacherlm_jax.storage import files

CONFIGS = config_file.load(recorded.CONFIG)
VERBS = {"student": "train", "teacher": "train", "explain": "annotate", "write": "annotate"}
VERSIONS = {"commit": "a" * 40, "packages": {"jax": "1.2.3"}}


def write_run(root, step, result, suffix=""):
    """Write the run of a step with its result, config and versions; return its folder."""
    config = CONFIGS.get_config(f"{step},root={root}{suffix}")
    folder = root / step
    files.write_json(folder / "result.json", result)
    verb = VERBS.get(step.partition("/")[0], "prepare")
    settings = {"verb": verb, "config": dataclasses.asdict(config)}
    files.write_json(folder / "config.json", settings)
    files.write_json(folder / "versions.json", VERSIONS)
    return folder


def write_student(root, arm, seed, accuracies, amount=1000):
    """Write the run of a student with two validations, and that of the data of its seed."""
    figures = {"steps": 200, "tokens": 900, "parameters": 7, "seconds": 1.5}
    run = write_run(root, f"student/{arm}/{amount}/seed-{seed}", figures)
    rows = [
        {"step": step, "test/accuracy": accuracy}
        for step, accuracy in zip((100, 200), accuracies, strict=True)
    ]
    files.write_jsonl(run / "validation.jsonl", rows)
    data = {"mixtures": {key: {"texts": 10, "tokens": 300} for key in study_students.ARMS}}
    write_run(root, f"student_data/{amount}/seed-{seed}", data)


def write_teacher(root, size, stage, seed, trained, unseen):
    """Write the run of a teacher with two validations, the last one with these accuracies."""
    figures = {"steps": 200, "tokens": 900, "parameters": 7, "seconds": 1.5}
    run = write_run(root, f"teacher/{size}/{stage}/seed-{seed}", figures)
    rows = [
        {"step": 100, "trained/accuracy": 0.01, "unseen/accuracy": 0.02},
        {"step": 200, "trained/accuracy": trained, "unseen/accuracy": unseen},
    ]
    files.write_jsonl(run / "validation.jsonl", rows)


def write_explanations(root, verb, size, writer, seed, correct):
    """Write the run of `explain` or `write`, with the number of correct texts of 100, by kind."""
    kinds = {
        kind: {"count": 100, "gates": {"finished": 99, "not_empty": 98, "synthetic": number}}
        for kind, number in correct.items()
    }
    write_run(root, f"{verb}/{size}/{writer}/seed-{seed}", {"kinds": kinds})
