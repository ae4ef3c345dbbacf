"""A tiny run of `star`: real processes, real files, and kills at random times of its steps."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from teacherlm_jax import config
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines import star_files
from teacherlm_jax.pipelines.verbs import VERBS
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files, objects

REPOSITORY = Path(__file__).parents[2]
KILLED = (2, 5, 7, 10, 13)  # numbers of the steps after whose begin the command is killed


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Folder with the datasets of a run."""
    folder = tmp_path_factory.mktemp("samples")
    for name, count, split in (("train", 40, "train"), ("unlabelled", 30, "unlabelled"),
                               ("test", 20, "test")):  # fmt: skip
        rows = map(to_row, synthetic.generate(count, 0, ("kinds", "months"), split))
        files.write_jsonl(folder / f"{name}.jsonl", rows)
    return folder


def start(samples, root, environment, *words):
    """Start the command; the models of its two rounds differ in the number of steps at least."""
    variant = f"root={root},samples={samples},tiny"
    command = [f"--config=configs/star.py:{variant}", "--config.steps=5", *words]
    return subprocess.Popen(
        [sys.executable, "-m", "teacherlm_jax", "star", *command],
        cwd=REPOSITORY, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(process):
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 0, shown[-3000:]
    return shown


@pytest.fixture(scope="module")
def finished(samples, tmp_path_factory, one_device):
    root = tmp_path_factory.mktemp("star") / "runs"
    return root, finish(start(samples, root, one_device))


def outcome(root):
    """Everything of a run that does not depend on time or place, by name."""
    names = [
        *(f"samples/{name}" for name in files.names(root / "samples")),
        *(f"round-1/{name}.jsonl" for name in ("filtered", "wrong", "kept", "examples")),
        *(f"round-{number}/round.json" for number in (0, 1)),
        "result.json",
    ]
    values = {name: (root / name).read_bytes() for name in names}
    for step in ("round-0/test", "round-1/attempts", "round-1/rationalizations", "round-1/test"):
        rows = [row for _, row in files.read_jsonl(root / step / "samples/part-00000.jsonl")]
        for row in rows:
            row["annotations"]["cot"].pop("teacher")  # a path; its digest is compared
        values[step] = rows
    return values


def test_each_round_is_a_folder_with_counts_accuracy_and_kept_rows(finished):
    root, shown = finished
    result = files.read_json(root / "result.json")
    first, second = result["rounds"]
    assert (first["round"], second["round"]) == (0, 1)
    assert second["attempts"]["texts"] == 30
    not_kept = sum(second["attempts"]["not_kept"].values())
    assert second["attempts"]["kept"] + not_kept == 30
    assert second["rationalizations"]["texts"] == not_kept
    assert second["kept"] == sum(second[name]["kept"] for name in ("attempts", "rationalizations"))
    assert len((root / "round-1/kept.jsonl").read_text().splitlines()) == second["kept"]
    assert second["accuracy_before"] == first["accuracy"]
    assert second["test"]["texts"] == 20
    assert "round 1: accuracy" in shown


def test_the_model_reads_no_answer_and_no_explanation_of_a_question(finished):
    root, _ = finished
    for step in ("round-1/attempts", "round-0/test", "round-1/test"):
        for _, row in files.read_jsonl(root / step / "shards/part-00000.jsonl"):
            assert row["answer"] == "The answer is (?)."
            assert not row["options"] and not row["explanations"]


def test_every_round_starts_from_the_same_weights_with_the_same_vocabulary(finished):
    root, _ = finished
    configs = [files.read_json(root / f"round-{number}/model/config.json")["config"]
               for number in (0, 1)]  # fmt: skip
    assert configs[0]["init_from"] == configs[1]["init_from"] == ""
    assert configs[0]["seed"] == configs[1]["seed"]
    manifests = [files.read_json(root / f"round-{number}/data/star/manifest.json")
                 for number in (0, 1)]  # fmt: skip
    assert manifests[0]["inputs"]["vocabulary"] == manifests[1]["inputs"]["vocabulary"]


def test_a_step_can_be_run_alone_with_its_config_file(finished, one_device, tmp_path):
    root, _ = finished
    words = [f"--config={root}/steps/round-1-model.py", f"--config.output={tmp_path}/again"]
    subprocess.run(
        [sys.executable, "-m", "teacherlm_jax", "train", *words],
        cwd=REPOSITORY, env=one_device, check=True, capture_output=True,
    )  # fmt: skip
    losses = [files.read_json(path / "result.json")["loss"]
              for path in (root / "round-1/model", tmp_path / "again")]  # fmt: skip
    assert losses[0] == losses[1]


def test_repeating_the_command_changes_nothing(finished, samples, one_device):
    root, _ = finished
    before = outcome(root)
    shown = finish(start(samples, root, one_device))
    assert "annotate" not in shown and shown.count("finished before") == 14
    assert outcome(root) == before


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(
    finished, samples, one_device, tmp_path
):
    draw, root = random.Random(0), tmp_path / "runs"
    for number, step in enumerate(KILLED):
        process = start(samples, root, one_device)
        shown = ""
        while f"== {step}/14" not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        time.sleep(draw.uniform(0, 1))
        process.send_signal(signal.SIGTERM if number % 3 == 2 else signal.SIGKILL)
        # The command has ended then, but a step may still be saving.
        assert process.wait() != 0, "it was killed at work"
        process.stdout.close()
    finish(start(samples, root, one_device))
    assert outcome(root) == outcome(finished[0])


def test_more_rounds_continue_a_finished_run(samples, tmp_path, one_device):
    settings = star_config(samples, tmp_path / "runs", rounds=1)
    with run_folder.open_run(settings.output, "star", settings) as run:
        star_files.read_datasets(settings, run)
    more = star_config(samples, tmp_path / "runs", rounds=2)
    with run_folder.open_run(more.output, "star", more, may_change=VERBS["star"].may_change) as run:
        assert run.changes == ("config.rounds=2 (was 1)",)


def star_config(samples, root, **changes):
    source = config.SourceConfig
    settings = {
        "output": str(root),
        "root": str(samples),
        "explained": source("explained", "train.jsonl"),
        "author": synthetic.AUTHOR,
        "questions": source("questions", "unlabelled.jsonl"),
        "test": source("test", "test.jsonl"),
        "vocabulary": config.VocabularyConfig(f"{root}/vocabulary", size=400),
    }
    return config.StarConfig(**settings | changes)


def test_a_seed_set_without_explanations_by_the_author_is_refused(samples, tmp_path):
    settings = star_config(samples, tmp_path / "runs", author="nobody")
    with (
        run_folder.open_run(settings.output, "star", settings) as run,
        pytest.raises(UserError, match=r"train.jsonl: no sample has a chain of .* by 'nobody'"),
    ):
        star_files.read_datasets(settings, run)


def test_held_out_questions_in_the_training_data_are_reported(samples, tmp_path, caplog):
    same = config.SourceConfig("test", "unlabelled.jsonl", limit=5)
    settings = star_config(samples, tmp_path / "runs", test=same)
    with run_folder.open_run(settings.output, "star", settings) as run:
        run.log.propagate = True
        star_files.read_datasets(settings, run)
        assert "5 held-out questions also appear in the training data" in (
            (run.path / "log.txt").read_text()
        )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"gates": ("finishd",)}, "did you mean 'finished'"),
        ({"gates": ("answer_check",)}, "expected one of .*, got 'answer_check'"),
        ({"author": " "}, "config.author: empty"),
        ({"test": config.SourceConfig("questions", "test.jsonl")}, "two datasets have the name"),
        (
            {"seed_steps": 10, "optimizer": config.OptimizerConfig(warmup_steps=20)},
            "20 must be less than the steps of a round, 10",
        ),
    ],
)
def test_impossible_settings_are_refused(samples, tmp_path, changes, problem):
    with pytest.raises(UserError, match=problem):
        config.fields.check(star_config(samples, tmp_path / "runs", **changes))


def test_texts_of_another_round_are_never_mixed_in(finished):
    root, _ = finished
    digests = {
        step: {json.dumps(row["annotations"]["cot"]["model_digest"]) for _, row in
               files.read_jsonl(root / step / "samples/part-00000.jsonl")}
        for step in ("round-0/test", "round-1/attempts", "round-1/rationalizations", "round-1/test")
    }  # fmt: skip
    assert digests["round-0/test"] == digests["round-1/attempts"]
    assert digests["round-1/rationalizations"] == digests["round-1/attempts"]
    assert digests["round-1/test"] != digests["round-1/attempts"]


def test_a_run_in_a_bucket_reads_and_writes_only_there(bucket, samples, one_device):
    for path in samples.iterdir():
        files.write_bytes(f"{bucket}/samples/{path.name}", path.read_bytes())
    process = start(
        *(f"{bucket}/samples", f"{bucket}/runs", {**os.environ, **one_device}),
        "--until=round-1/filter",
    )
    finish(process)
    written = set(objects.listing(f"{bucket}/runs/round-1"))
    assert {"filtered.jsonl", "wrong.jsonl", "attempts/result.json"} <= written
    assert not Path(bucket).exists() and not Path("gs:").exists()
