"""Answers of two students of `conftest.py` to the same questions, so that they are compared."""

from teacherlm_jax.storage import files

CMF = "1" * 150 + "1" * 15 + "0" * 5 + "0" * 30  # 165 right
TEXT = "1" * 150 + "0" * 15 + "1" * 5 + "0" * 30  # 155 right


def answer(folder, marks, benchmark="generated", start=0, digest="d", subjects=("",)):
    """Write the predictions of an evaluation: right where `marks` has a 1."""
    rows = [
        {
            "id": f"q{number}",
            "digest": f"{digest}{number}",
            "subject": subjects[number % len(subjects)],
            "gold": "A",
            "prediction": "A" if mark == "1" else "B",
            "scores": {"A": -1.0, "B": -2.0},
        }
        for number, mark in enumerate(marks, start=start)
    ]
    files.write_jsonl(folder / f"{benchmark}.predictions.jsonl", rows)


def change(path, **values):
    """Change values of a JSON file."""
    files.write_json(path, files.read_json(path) | values)


def seeded(runs, name, seed, marks, **settings):
    """Add a run like student_CMF with another seed, and its evaluation."""
    data = str(runs / "student_data" / "student_CMF")
    config = {"init_from": "", "data": data, "seed": seed, "output": str(runs / name), **settings}
    files.write_json(runs / name / "config.json", {"verb": "train", "config": config})
    result = files.read_json(runs / "student_CMF" / "result.json")
    files.write_json(runs / name / "result.json", result)
    files.write_json(runs / name / "inputs.json", {"data": "sha256:data"})
    evaluation = runs / f"evaluate_{name}"
    files.write_json(evaluation / "config.json", {"verb": "evaluate", "config": {}})
    result = files.read_json(runs / "evaluate_student_CMF" / "result.json")
    result |= {"model": str(runs / name), "digest": f"sha256:{name}"}
    files.write_json(evaluation / "result.json", result)
    answer(evaluation, marks)
