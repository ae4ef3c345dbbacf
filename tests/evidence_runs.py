"""Run folders of the study of stages and explanations, as its trainings leave them."""

from teacherlm_jax.pipelines.evidence_steps import study_students
from teacherlm_jax.storage import files

VERSIONS = {"commit": "a" * 40, "packages": {"jax": "1.2.3"}}


def write_student(root, arm, seed, accuracies, amount=1000):
    """Write the run of a student with two validations, and that of the data of its seed."""
    run = root / f"student/{arm}/{amount}/seed-{seed}"
    figures = {"steps": 200, "tokens": 900, "parameters": 7, "seconds": 1.5}
    files.write_json(run / "result.json", figures)
    files.write_json(run / "versions.json", VERSIONS)
    steps = (100, 200)
    rows = [{"step": s, "test/accuracy": a} for s, a in zip(steps, accuracies, strict=True)]
    files.write_jsonl(run / "validation.jsonl", rows)
    data = {"mixtures": {key: {"texts": 10, "tokens": 300} for key in study_students.ARMS}}
    folder = root / f"student_data/{amount}/seed-{seed}"
    files.write_json(folder / "result.json", data)
    files.write_json(folder / "versions.json", VERSIONS)
