import dataclasses
import shutil
import signal

import pytest

from teacherlm_jax.config import (
    BenchmarkConfig,
    CheckpointConfig,
    MeshConfig,
    ModelConfig,
    TrainConfig,
    ValidationConfig,
)
from teacherlm_jax.data import prepared as prepared_folder
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files
from teacherlm_jax.training.loop import train
from teacherlm_jax.training.run_inputs import inputs

from .test_loop import Lines


@pytest.fixture(scope="module")
def config(prepared):
    return TrainConfig(
        data=str(prepared),
        model=ModelConfig(layers=1, width=16, heads=2, vocab_size=400, dtype="float32"),
        mesh=MeshConfig(data=2, fsdp=4),
        checkpoint=CheckpointConfig(keep=1),
        batch_size=8,
        steps=2,
        log_every=1,
    )


@pytest.fixture(scope="module")
def earlier_stage(config, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("stage") / "run"
    verbs.run("train", dataclasses.replace(config, output=str(folder)))
    return folder


def stopped(config):
    """Run `train` as the command does, and stop it by SIGTERM in its second step."""
    with run_folder.open_run(config.output, "train", config) as run:
        run.check_inputs(inputs(config))
        run.log.addHandler(Lines(signal_at="step 1/", number=signal.SIGTERM))
        with pytest.raises(Interrupted, match="saved at step 2 of 4"):
            train(config, run)


def test_every_input_of_a_run_has_a_digest_that_follows_its_content(prepared, tmp_path):
    (tmp_path / "set.jsonl").write_text("{}\n")
    config = TrainConfig(
        data=str(prepared),
        validation=ValidationConfig(
            root=str(tmp_path),
            benchmarks=(BenchmarkConfig("set", "set.jsonl"),),
            data=str(prepared),
        ),
    )
    before = inputs(config)
    digest = prepared_folder.open(prepared).digest
    assert before == {
        "data": digest,
        "validation.data": digest,
        "validation.benchmarks.set": files.file_digest(tmp_path / "set.jsonl"),
    }
    (tmp_path / "set.jsonl").write_text('{"id": "a"}\n')
    after = inputs(config)
    assert {key for key in before if before[key] != after[key]} == {"validation.benchmarks.set"}


def test_the_digest_of_a_benchmark_covers_all_files_of_a_pattern_or_folder(prepared, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        (tmp_path / "sets" / name / "set.jsonl").write_text("{}\n")
    benchmarks = (BenchmarkConfig("all", "sets/*/set.jsonl"), BenchmarkConfig("b", "sets/b"))
    validation = ValidationConfig(root=str(tmp_path), benchmarks=benchmarks)
    config = TrainConfig(data=str(prepared), validation=validation)
    before = inputs(config)
    (tmp_path / "sets/a/set.jsonl").write_text('{"id": "a"}\n')
    after = inputs(config)
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"validation.benchmarks.all"}
    (tmp_path / "sets/b/set.jsonl").write_text('{"id": "a"}\n')
    last = inputs(config)
    assert after["validation.benchmarks.b"] != last["validation.benchmarks.b"]


def test_a_run_with_a_checkpoint_resumes_without_its_initial_model(config, earlier_stage, tmp_path):
    model = shutil.copytree(earlier_stage, tmp_path / "model")
    stage = dataclasses.replace(config, output=str(tmp_path / "run"), init_from=str(model), steps=4)
    stopped(stage)
    shutil.rmtree(model)
    assert verbs.run("train", stage)["step"] == 4
    recorded = files.read_json(tmp_path / "run/inputs.json")
    assert recorded["init_from"] == inputs(stage)["init_from"]


def test_a_replaced_initial_model_is_refused_when_a_run_resumes(config, earlier_stage, tmp_path):
    model = shutil.copytree(earlier_stage, tmp_path / "model")
    stage = dataclasses.replace(config, output=str(tmp_path / "run"), init_from=str(model), steps=4)
    stopped(stage)
    shutil.rmtree(model)
    other = dataclasses.replace(config, output=str(model), seed=1)
    verbs.run("train", other)
    with pytest.raises(UserError, match=r"inputs changed .*: config.init_from=.*/model \(digest"):
        verbs.run("train", stage)


def test_a_run_without_a_checkpoint_needs_its_initial_model(config, tmp_path):
    stage = dataclasses.replace(config, output=str(tmp_path / "run"), init_from="nowhere")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        verbs.run("train", stage)
