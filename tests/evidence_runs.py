"""Run folders of the study of stages and explanations, as its steps leave them."""

import dataclasses

from benchmarks.evidence import recorded
from teacherlm_jax.cli import config_file
from teacherlm_jax.pipelines.evidence_steps import study_students
from teacherlm_jax.storage import files

CONFIGS = config_file.load(recorded.CONFIG)
VERSIONS = {"commit": "a" * 40, "packages": {"jax": "1.2.3"}}


def write_run(root, step, result, settings=""):
    """Write the run of a step with its result, config and versions; return its folder."""
    config = CONFIGS.get_config(f"{step},root={root}{settings}")
    folder = root / step
    files.write_json(folder / "result.json", result)
    files.write_json(folder / "config.json", {"config": dataclasses.asdict(config)})
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
