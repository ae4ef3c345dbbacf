"""Several processes that share nothing but a bucket: runs, data, model and benchmark are in it."""

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.paths import StoragePath
from tests.training.launches import STEPS, Launch, write_configs


@pytest.fixture
def folder(bucket, prepared, tmp_path):
    """Folder of the config files; the data and the questions are in the bucket."""
    for path in prepared.rglob("*"):
        if path.is_file():
            objects.upload(path, f"{bucket}/data/{path.relative_to(prepared)}")
    write_configs(tmp_path, f"{bucket}/data", bucket)
    return tmp_path


def alone(bucket, folder, verb):
    """Run a command in this process, which has all devices; return its folder in the bucket."""
    output = f"{bucket}/{verb}-alone"
    assert main.main([verb, f"--config={folder}/{verb}.py", f"--config.output={output}"]) == 0
    return StoragePath(output)


def test_four_processes_train_in_a_bucket_as_one_does_and_two_evaluate(bucket, folder):
    whole = Launch(folder, "whole", processes=4, place=bucket)
    status, shown = whole.end()
    assert status == 0, shown
    metrics = files.read_jsonl(alone(bucket, folder, "train") / "metrics.jsonl")
    expected = {row["step"]: row["loss"] for _, row in metrics}
    assert expected.keys() == set(range(1, STEPS + 1))
    losses = {step: loss for step, (loss, _) in whole.losses().items()}
    assert losses == pytest.approx(expected, rel=1e-5)
    logs = ("log.txt", "log-1.txt", "log-2.txt", "log-3.txt")
    assert all(objects.read(whole.run / name) for name in logs)
    assert files.read_json(whole.run / "versions.json")["processes"] == 4
    assert files.read_json(whole.run / "result.json")["step"] == STEPS

    scoring = Launch(folder, "scored", verb="evaluate", config="evaluate", place=bucket)
    status, shown = scoring.end()
    assert status == 0, shown
    scored, once = (
        [row for _, row in files.read_jsonl(run / "questions.predictions.jsonl")]
        for run in (scoring.run, alone(bucket, folder, "evaluate"))
    )
    assert len(scored) == 3
    for row, one in zip(scored, once, strict=True):
        assert row["scores"] == pytest.approx(one["scores"], rel=1e-5)
        assert row["prediction"] == one["prediction"]
