"""Training runs in a bucket."""

import dataclasses
import glob
import os
import sys
import tempfile
import types
from pathlib import Path

import pytest

from teacherlm_jax import config
from teacherlm_jax.checkpoints import commit_marks, saved_model
from teacherlm_jax.data import packing
from teacherlm_jax.errors import Interrupted, StoreError, UserError
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.runs import layout, run_place
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

MODEL = config.ModelConfig(layers=1, width=16, heads=2, vocab_size=400, dtype="float32")


def settings(output, data, **changes):
    saving = config.CheckpointConfig(every=2, keep=2)
    return config.TrainConfig(
        output=str(output), data=str(data), batch_size=8, log_every=1, seed=3, model=MODEL,
        checkpoint=saving, **{"steps": 6} | changes,
    )  # fmt: skip


def losses(run):
    """Return the loss of each line of a run's metrics."""
    return [row["loss"] for _, row in files.read_jsonl(StoragePath(run) / "metrics.jsonl")]


@pytest.fixture(scope="module")
def on_disk(prepared, tmp_path_factory):
    """A finished run on a disk."""
    run = tmp_path_factory.mktemp("on_disk") / "run"
    verbs.run("train", settings(run, prepared))
    return run


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Folder of the copies on this machine."""
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def upload(folder, address):
    """Copy a folder to a bucket."""
    for path in folder.rglob("*"):
        if path.is_file():
            objects.upload(path, f"{address}/{path.relative_to(folder)}")


def digest(run):
    """Return the digest of the newest parameters of a run."""
    checkpoints, step = saved_model.open_checkpoint(run)
    return checkpoints.meta(step)["parameters"]


def test_a_run_in_a_bucket_with_data_in_a_bucket_ends_like_one_on_disk(
    bucket, prepared, on_disk, copies
):
    upload(prepared, f"{bucket}/data")
    result = verbs.run("train", settings(f"{bucket}/run", f"{bucket}/data"))
    assert losses(f"{bucket}/run") == losses(on_disk)
    assert digest(f"{bucket}/run") == digest(on_disk)
    assert files.read_json(StoragePath(bucket) / "run/result.json") == result
    in_bucket = {name.split("/")[0] for name in objects.listing(f"{bucket}/run")}
    assert in_bucket == {path.name for path in on_disk.iterdir()}
    assert not list(copies.iterdir())


def test_validation_data_of_another_vocabulary_is_refused_before_rows_are_copied(
    bucket, prepared, write_prepared, tmp_path
):
    others = train_sentencepiece(["four five six"] * 9, tmp_path / "others", size=400, seed=0)
    text = packing.Encoded([5, 6], [True, True])
    upload(prepared, f"{bucket}/data")
    upload(write_prepared(tmp_path / "held_out", [text] * 8, others, 32), f"{bucket}/held_out")
    validation = config.ValidationConfig(data=f"{bucket}/held_out", every=1)
    changed = settings(
        f"{bucket}/run", f"{bucket}/data", validation=validation, data_cache=f"{tmp_path}/cache"
    )
    message = f"config.validation.data={bucket}/held_out: was prepared with the vocabulary"
    with pytest.raises(UserError, match=message):
        verbs.run("train", changed)
    assert not (tmp_path / "cache").exists()


def test_an_interrupted_run_is_resumed_from_the_bucket_alone(
    bucket, prepared, on_disk, monkeypatch
):
    saved, ids, steps = [], [], []

    def track(run):
        ids.append(run.id)
        run.id = run.id or "at the service"
        return lambda scalars, step: steps.append(step)

    service = types.SimpleNamespace(track=track)
    monkeypatch.setitem(sys.modules, "my_service", service)
    tracked = settings(f"{bucket}/run", prepared, track=("tensorboard", "my_service:track"))
    publish = run_place.RunPlace.publish

    def stop_before_the_second_checkpoint(place):
        publish(place)
        if (place.path / "metrics.jsonl").exists() and len(losses(place.path)) == 4:
            saved.append(place)
            raise Interrupted("stopped", status=143)

    monkeypatch.setattr(run_place.RunPlace, "publish", stop_before_the_second_checkpoint)
    with pytest.raises(Interrupted):
        verbs.run("train", tracked)
    assert len(saved) == 1
    monkeypatch.setattr(run_place.RunPlace, "publish", publish)
    assert saved_model.open_checkpoint(f"{bucket}/run")[1] == 2
    verbs.run("train", tracked)
    assert losses(f"{bucket}/run") == losses(on_disk)
    assert digest(f"{bucket}/run") == digest(on_disk)
    assert ids == ["", "at the service"] and steps == [1, 2, 3, 4, 5, 6, 6]
    recorded = files.read_json(StoragePath(bucket) / "run/tracking.json")
    assert recorded["my_service:track"] == {
        "project": "teacherlm",
        "id": "at the service",
        "step": 6,
    }


@pytest.mark.parametrize("remedy", ["copy the files", "repeat the command"])
def test_a_run_whose_last_upload_fails_is_whole_after_each_remedy_of_the_message(
    bucket, prepared, on_disk, monkeypatch, capsys, remedy
):
    def refuse(source, path):
        raise StoreError(f"{path}: cannot be written: HTTP status 503")

    finish = Run.finish
    with monkeypatch.context() as patch:

        def finish_without_the_store(run, result):
            finish(run, result)
            patch.setattr(objects, "upload", refuse)

        patch.setattr(Run, "finish", finish_without_the_store)
        with pytest.raises(StoreError) as raised:
            verbs.run("train", settings(f"{bucket}/run", prepared))
    assert "run/result.json" not in objects.listing(bucket)
    message = str(raised.value)
    assert "; repeat the command, or copy them: " in message
    if remedy == "copy the files":
        _copy_as_the_message_says(message)
    capsys.readouterr()
    result = verbs.run("train", settings(f"{bucket}/run", prepared))
    assert ("finished before" in capsys.readouterr().out) == (remedy == "copy the files")
    assert files.read_json(StoragePath(bucket) / "run/result.json") == result
    assert losses(f"{bucket}/run") == losses(on_disk)
    assert digest(f"{bucket}/run") == digest(on_disk)


def _copy_as_the_message_says(message):
    command = message.rpartition(", or copy them: ")[2].split()
    assert command[:4] == ["gcloud", "storage", "cp", "--recursive"]
    pattern, address = command[4:]
    for path in glob.glob(pattern):  # like a shell's, without hidden files
        if os.path.isdir(path):
            upload(Path(path), address + os.path.basename(path))
        else:
            objects.upload(Path(path), address + os.path.basename(path))


def test_a_run_moves_from_a_disk_to_a_bucket(bucket, prepared, on_disk, capsys):
    upload(on_disk, f"{bucket}/run")
    assert verbs.run("train", settings(f"{bucket}/run", prepared))["step"] == 6
    assert f"{bucket}/run: finished before" in capsys.readouterr().out


def test_a_run_moves_from_a_bucket_to_a_disk_and_is_resumed_there(
    bucket, prepared, on_disk, tmp_path
):
    verbs.run("train", settings(f"{bucket}/run", prepared, steps=4))
    for name in objects.listing(f"{bucket}/run"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        objects.download(f"{bucket}/run/{name}", tmp_path / "run" / name)
    verbs.run("train", settings(tmp_path / "run", prepared))
    assert losses(tmp_path / "run") == losses(on_disk)
    assert digest(tmp_path / "run") == digest(on_disk)


def test_a_warm_start_takes_a_run_in_a_bucket(bucket, prepared, on_disk, tmp_path):
    upload(on_disk, f"{bucket}/run")
    starts = [
        verbs.run("train", settings(tmp_path / name, prepared, init_from=str(model)))
        for name, model in (("a", f"{bucket}/run"), ("b", on_disk))
    ]
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(on_disk)
    assert starts[0]["loss"] == starts[1]["loss"]


def test_other_settings_are_refused_with_the_address(bucket, prepared, on_disk):
    upload(on_disk, f"{bucket}/run")
    other = dataclasses.replace(settings(f"{bucket}/run", prepared), seed=4)
    with pytest.raises(UserError, match=f"^{bucket}/run: this run was started with config.seed=3"):
        verbs.run("train", other)


def test_a_refused_command_leaves_nothing_in_the_bucket(bucket, prepared):
    with pytest.raises(UserError, match="no such folder"):
        verbs.run("train", settings(f"{bucket}/run", f"{bucket}/none"))
    assert not objects.listing(bucket)
    verbs.run("train", settings(f"{bucket}/run", prepared))  # the folder is free


def test_messages_name_files_in_the_bucket(bucket, prepared, on_disk):
    upload(on_disk, f"{bucket}/run")
    objects.put(f"{bucket}/run/config.json", b"{")
    with pytest.raises(UserError, match=f"^{bucket}/run/config.json:1: not JSON"):
        verbs.run("train", settings(f"{bucket}/run", prepared))


def unmark(run, step):
    """Remove the marks of a checkpoint; return its address."""
    address = f"{run}/checkpoints/{step}"
    for name in objects.listing(address):
        if name.endswith(layout.COMMIT_MARK):
            objects.remove(f"{address}/{name}")
    return address


def test_complete_checkpoints_without_the_mark_are_kept_and_marked(
    bucket, prepared, on_disk, capsys
):
    upload(on_disk, f"{bucket}/run")
    for step in (4, 6):
        address = unmark(f"{bucket}/run", step)
    with pytest.raises(
        UserError, match=r"lack the file commit_success.txt; copy that file of each"
    ):
        saved_model.open_checkpoint(f"{bucket}/run")  # a finished run does not train again
    objects.remove(f"{bucket}/run/result.json")
    with pytest.raises(UserError, match=f"{bucket}/run: the checkpoints of the steps 4, 6 lack"):
        saved_model.open_checkpoint(f"{bucket}/run")
    verbs.run("train", settings(f"{bucket}/run", prepared))
    assert f"{address}: complete checkpoint without commit_success.txt; the mark was added" in (
        capsys.readouterr().out
    )
    assert digest(f"{bucket}/run") == digest(on_disk)
    assert losses(f"{bucket}/run") == losses(on_disk)


@pytest.mark.parametrize("kind", ["read", "stat|list"])
def test_a_store_that_fails_does_not_make_a_checkpoint_incomplete(
    bucket, proxy, on_disk, monkeypatch, kind
):
    upload(on_disk / "checkpoints/6", f"{bucket}/checkpoints/6")
    unmark(bucket, 6)
    before = objects.listing(bucket)
    proxy.fail(503, kind)
    monkeypatch.setattr(objects, "PATIENCE", 0.2)
    with pytest.raises(StoreError, match=f"{bucket}/checkpoints.*HTTP status 503"):
        list(commit_marks.adopt(StoragePath(bucket) / "checkpoints"))
    proxy.clear()
    assert objects.listing(bucket) == before


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("params/manifest.ocdbt", "params/manifest.ocdbt"),
        ("optimizer/_METADATA", "optimizer/_METADATA"),
        ("meta/metadata", "a readable meta/metadata"),
    ],
)
def test_an_incomplete_checkpoint_without_the_mark_is_named(bucket, on_disk, name, named):
    upload(on_disk / "checkpoints/6", f"{bucket}/checkpoints/6")
    address = unmark(bucket, 6)
    objects.remove(f"{address}/{name}")
    (line,) = commit_marks.adopt(StoragePath(bucket) / "checkpoints")
    assert line.startswith(f"{address}: incomplete checkpoint without {named};")
    assert commit_marks.unmarked(StoragePath(bucket) / "checkpoints") == ["6"]
