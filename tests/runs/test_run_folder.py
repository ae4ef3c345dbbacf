import contextlib
import errno
import json
import os
import re
import subprocess
import sys

import pytest

from teacherlm_jax.config import MixtureConfig, PrepareConfig, SourceConfig, TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage import files, objects


def config(tmp_path, **changes):
    return TrainConfig(output=str(tmp_path / "run"), data="d", **changes)


def open_run(settings, **options):
    return run_folder.open_run(settings.output, "train", settings, **options)


def test_a_second_process_cannot_open_the_folder(tmp_path):
    settings = config(tmp_path)
    code = (
        "import sys; from teacherlm_jax import config; from teacherlm_jax.runs import run_folder\n"
        "settings = config.TrainConfig(output=sys.argv[1], data='d')\n"
        "run_folder.open_run(sys.argv[1], 'train', settings)"
    )
    words = [sys.executable, "-c", code, settings.output]
    holder = open_run(settings)
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    held_by = rf"another process \(.*, process {os.getpid()}\) is using this folder"
    assert re.search(held_by, refused.stderr)
    holder.close()
    assert subprocess.run(words, check=False).returncode == 0


def test_a_finished_run_keeps_its_recorded_config_and_versions(tmp_path):
    with open_run(config(tmp_path)) as folder:
        folder.finish({})
    files.write_json(tmp_path / "run/versions.json", {"commit": "old"})
    open_run(config(tmp_path, log_every=99), may_change=("log_every",)).close()
    assert files.read_json(tmp_path / "run/versions.json") == {"commit": "old"}
    assert files.read_json(tmp_path / "run/config.json")["config"]["log_every"] == 10


def test_a_finished_run_can_get_another_label_of_what_it_stands_for(tmp_path):
    with open_run(config(tmp_path)) as folder:
        folder.finish({"step": 3})
    label, may_change = "teacher/7b1/stage2", ("stands_for", "log_every")
    with open_run(config(tmp_path, stands_for=label), may_change=may_change) as folder:
        assert folder.result == {"step": 3} and folder.changes == ()
    recorded = files.read_json(tmp_path / "run/config.json")["config"]
    assert recorded["stands_for"] == label
    other = config(tmp_path, stands_for="none", log_every=99)  # not the label alone
    with open_run(other, may_change=may_change) as folder:
        assert len(folder.changes) == 2
    assert files.read_json(tmp_path / "run/config.json")["config"] == recorded


def test_a_resumed_run_records_earlier_versions_too(tmp_path):
    open_run(config(tmp_path)).close()
    files.write_json(tmp_path / "run/versions.json", {"commit": "old"})
    open_run(config(tmp_path)).close()
    open_run(config(tmp_path)).close()
    oldest, newer = files.read_json(tmp_path / "run/versions.json")["before"]
    assert oldest == {"commit": "old"}
    assert newer["packages"] and "before" not in newer


def test_a_run_folder_keeps_config_versions_log_and_result(tmp_path):
    with open_run(config(tmp_path, seed=7)) as folder:
        folder.log.info("hello")
        assert folder.result is None
        folder.finish({"loss": 1.5})
        assert folder.result == {"loss": 1.5}
    kept = json.loads((folder.path / "config.json").read_text())
    assert kept["verb"] == "train"
    assert kept["config"]["seed"] == 7
    versions = json.loads((folder.path / "versions.json").read_text())
    assert versions["packages"]["jax"] != "not installed"
    assert versions["commit"]
    assert "hello" in (folder.path / "log.txt").read_text()


def test_a_folder_with_another_config_is_refused_by_key_and_unchanged(tmp_path):
    with open_run(config(tmp_path)) as folder:
        folder.finish({"loss": 1.0})
    with pytest.raises(UserError, match=r"config\.seed=0, but now config\.seed=3"):
        open_run(config(tmp_path, seed=3))
    assert files.read_json(tmp_path / "run/config.json")["config"]["seed"] == 0
    assert files.read_json(tmp_path / "run/result.json") == {"loss": 1.0}


def test_a_folder_in_which_no_work_began_takes_another_config(tmp_path):
    with open_run(config(tmp_path, init_from="a typo")) as folder:
        folder.log.info("refused")
        (folder.path / "mine.refused.jsonl").touch()
        (folder.path / "checkpoints").mkdir()
    open_run(config(tmp_path)).close()
    assert files.read_json(tmp_path / "run/config.json")["config"]["init_from"] == ""


def test_a_training_that_took_no_step_takes_another_config(tmp_path):
    """Such as one that ran out of memory, whose message says to lower its batch size."""
    with open_run(config(tmp_path)) as folder:
        names = ("vocabulary/vocabulary.json", "tensorboard/events", "wandb/a", "tracking.json")
        for name in names:
            files.write_text(folder.path / name, "")
    open_run(config(tmp_path, batch_size=4)).close()
    (tmp_path / "run/metrics.jsonl").touch()
    with pytest.raises(UserError, match=r"config\.batch_size=4, but now config\.batch_size=8"):
        open_run(config(tmp_path))


def test_settings_that_do_not_change_the_result_may_differ(tmp_path):
    with open_run(config(tmp_path)) as folder:
        (folder.path / "checkpoints/1").mkdir(parents=True)
    with pytest.raises(UserError, match=r"config\.log_every=10, but now config\.log_every=99"):
        open_run(config(tmp_path, log_every=99))
    open_run(config(tmp_path, log_every=99), may_change=("log_every",)).close()


def test_an_empty_output_and_a_file_in_its_place_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.output: empty"):
        run_folder.open_run("", "train", TrainConfig())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        run_folder.open_run(str(tmp_path / "file"), "train", TrainConfig())


def test_a_store_without_a_lock_is_refused_as_a_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"config\.output=s3://b/r: expected .* bucket \(gs://"):
        run_folder.open_run("s3://b/r", "train", TrainConfig())
    assert not list(tmp_path.iterdir())


def test_the_commit_that_a_launcher_sets_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("TEACHERLM_COMMIT", "abc")
    open_run(config(tmp_path)).close()
    assert files.read_json(tmp_path / "run/versions.json")["commit"] == "abc"


def test_other_processes_write_a_log_only_and_get_the_result_of_the_first(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(run_folder.distributed, "process_index", lambda: 1)
    monkeypatch.setattr(run_folder.distributed, "of_first", lambda make: [{"loss": 1.0}, True])
    monkeypatch.setattr(run_folder.distributed, "without", lambda see: [])
    with open_run(config(tmp_path)) as folder:
        assert folder.result == {"loss": 1.0} and folder.extends
        folder.log.info("a detail")
        folder.begin_extension()
        folder.finish({"loss": 2.0})
    (log,) = (tmp_path / "run").iterdir()
    assert log.name == "log-1.txt" and log.read_text().endswith("INFO a detail\n")
    assert capsys.readouterr().out == ""


def test_a_folder_that_some_processes_do_not_see_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.distributed, "without", lambda see: [1, 3])
    with pytest.raises(UserError, match="run: processes 1, 3 do not see this folder; put"):
        open_run(config(tmp_path))


def test_the_error_that_ended_a_run_is_in_its_log(tmp_path, capsys):
    def fail():
        with open_run(config(tmp_path)) as folder:
            (folder.path / "metrics.jsonl").touch()
            raise UserError("rows.jsonl:3: no question")

    with pytest.raises(UserError):
        fail()
    last = (tmp_path / "run/log.txt").read_text().splitlines()[-1]
    assert last.endswith("ERROR UserError: rows.jsonl:3: no question")
    assert "no question" not in capsys.readouterr().out


def test_a_log_that_cannot_be_written_ends_the_run_and_is_named(tmp_path, capsys):
    folder = open_run(config(tmp_path))
    folder.close()
    (tmp_path / "run/log.txt").unlink(missing_ok=True)
    (tmp_path / "run/log.txt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error, open_run(config(tmp_path)) as run:
        run.log.info("hello")
    assert error.value.filename == str(tmp_path / "run/log.txt")
    shown = capsys.readouterr()
    assert (shown.out.splitlines()[0], shown.err) == ("hello", "")


def test_the_error_that_ends_a_run_is_not_replaced_by_that_of_its_log(tmp_path, capsys):
    open_run(config(tmp_path)).close()
    log = tmp_path / "run/log.txt"
    log.unlink(missing_ok=True)
    log.symlink_to("/dev/full")
    with pytest.raises(OSError, match="rows") as error, open_run(config(tmp_path)):
        raise OSError(errno.ENOSPC, "No space left on device", "rows")
    assert error.value.filename == "rows"
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (f"{log}: No space left on device\n", "")


@pytest.mark.parametrize("refused", [False, True])
def test_a_lock_that_cannot_be_released_changes_nothing_about_how_the_run_ended(
    bucket, proxy, capsys, monkeypatch, refused
):
    monkeypatch.setattr(objects, "PATIENCE", 0.05)
    ends = pytest.raises(UserError, match="the reason") if refused else contextlib.nullcontext()
    with ends, run_folder.open_run(f"{bucket}/run", "train", TrainConfig()) as run:
        proxy.fail(503, path=r"\.lock")
        if refused:
            raise UserError("the reason")
        run.finish({"loss": 1.0})
    shown = capsys.readouterr()
    assert shown.out.count(f"{bucket}/run: the lock was not released and expires in 60 s") == 1
    assert shown.err == ""
    assert (objects.read(f"{bucket}/run/result.json") is None) == refused


def test_mixtures_may_change_while_only_the_vocabulary_is_prepared(tmp_path):
    def prepare(author="human", path="a.jsonl"):
        settings = PrepareConfig(
            output=str(tmp_path / "run"),
            sources=(SourceConfig("a", path, limit=len(path)),),
            mixtures=(MixtureConfig("mix", author=author),),
        )
        run_folder.open_run(settings.output, "prepare", settings).close()

    prepare()
    files.write_text(tmp_path / "run" / "vocabulary" / "sentencepiece.model", "trained")
    with pytest.raises(UserError, match=r"started with config.sources\[0\].limit=7, but now"):
        prepare(path="other.jsonl")
    prepare(author="teacher")
    recorded = files.read_json(tmp_path / "run" / "config.json")["config"]
    assert recorded["mixtures"][0]["author"] == "teacher"
    files.write_text(tmp_path / "run" / "mix" / "manifest.json", "{}")
    with pytest.raises(UserError, match=r"started with config.mixtures\[0\].author='teacher'"):
        prepare(author="human")
