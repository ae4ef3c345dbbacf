"""Commands in a bucket whose store fails: the right result, or one line and status 2."""

import itertools
import re

import pytest

from teacherlm_jax.checkpoints import saved_model
from teacherlm_jax.cli.main import main
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.paths import StoragePath

from .conftest import BASE, CONFIG, SWEEP, VERBS


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        *itertools.product(VERBS, ["read", "write", "list", ".*"]),
        *itertools.product(["import", "quickstart", "plan"], ["write", "list", ".*"]),
        *itertools.product(["export"], ["read", "list", ".*"]),
    ],
)
def test_a_command_without_rights_names_the_object(command, proxy, verb, kind):
    fault = proxy.fail(403, kind)
    status, line = command(verb)
    assert status == 2 and fault.failed < 40
    assert re.match("gs://bucket.*: cannot be (read|written): permission denied; the account", line)


def test_each_point_of_a_sweep_without_rights_names_the_object(commands, proxy, bucket, capsys):
    swept = commands.with_name("sweep.py")
    swept.write_text(CONFIG + SWEEP)
    proxy.fail(403, "write")
    command = ["train", f"--config={swept}:train", f"--config.output={bucket}/out", "--sweep_all"]
    assert main(command) == 2
    lines = capsys.readouterr().err.splitlines()
    for name in ("a", "b"):
        assert any(f"{bucket}/out/{name}/.lock/1: cannot be written" in line for line in lines)
    assert "Traceback" not in "".join(lines)


def test_a_sweep_in_a_bucket_is_continued_with_the_points_that_failed(
    commands, proxy, bucket, capsys
):
    swept = commands.with_name("sweep.py")
    swept.write_text(CONFIG + SWEEP)
    proxy.fail(403, "write", f"{bucket.removeprefix('gs://bucket/')}/out/b/")
    command = ["train", f"--config={swept}:train", f"--config.output={bucket}/out", "--sweep_all"]
    assert main(command) == 2
    assert files.read_json(StoragePath(bucket) / "out/a/result.json")["steps"] == 2
    assert not StoragePath(f"{bucket}/out/b/result.json").exists()
    proxy.clear()
    capsys.readouterr()
    assert main(command) == 0
    assert f"{bucket}/out/a: finished before" in capsys.readouterr().out
    assert _losses(f"{bucket}/out/b") == _losses(f"{BASE}/train")  # the settings are the same
    assert _digest(f"{bucket}/out/b") == _digest(f"{BASE}/train")


@pytest.mark.parametrize("verb", [*VERBS, "import", "export", "quickstart", "plan"])
def test_a_store_that_is_down_ends_a_command_in_time(command, proxy, verb, monkeypatch):
    monkeypatch.setattr(objects, "PATIENCE", 0.3)
    fault = proxy.fail(503)
    status, line = command(verb)
    assert status == 2 and 1 < fault.failed < 20  # of one or two requests
    assert re.match("gs://bucket.*: cannot be .*: the store did not answer as expected", line)


@pytest.mark.parametrize(
    ("verb", "change"),
    [
        ("prepare", "--config.output=gs://none/run"),
        ("train", "--config.output=gs://none/run"),
        ("annotate", "--config.output=gs://none/run"),
        ("evaluate", "--config.output=gs://none/run"),
        ("report", "--config.output=gs://none/run"),
        ("prepare", "--config.root=gs://none"),
        ("train", "--config.data=gs://none/data/mix"),
        ("annotate", "--config.root=gs://none"),
        ("annotate", "--config.teachers.cot=gs://none/train"),
        ("evaluate", "--config.root=gs://none"),
        ("evaluate", "--config.model=gs://none/train"),
        ("report", "--config.root=gs://none"),
        ("prepare", f"--config.root={BASE}/none"),
        ("train", f"--config.data={BASE}/data/none"),
        ("train", f"--config.data={BASE}/train"),
        ("train", f"--config.init_from={BASE}/none"),
        ("annotate", f"--config.source.path={BASE}/none.jsonl"),
        ("annotate", f"--config.teachers.cot={BASE}/train/checkpoints/3"),
        ("annotate", f"--config.teachers.cot={BASE}/data"),
        ("evaluate", f"--config.model={BASE}/trains"),
        ("report", f"--config.root={BASE}/none"),
    ],
)
def test_a_wrong_name_is_shown_with_a_suggested_fix(command, verb, change):
    status, line = command(verb, change)
    address = change.partition("=")[2]
    assert status == 2
    assert address.removesuffix("/data/mix").removesuffix("/run") in line
    assert re.search("; [a-z]", line)


def _contents(run):
    """Return the files of a finished run that do not depend on time, by name."""
    wanted = ("metrics.jsonl", ".jsonl", "manifest.json", ".array_record", ".model")
    return {
        name: _losses(run) if name == "metrics.jsonl" else objects.read(f"{run}/{name}")
        for name in objects.listing(run)
        if name.endswith(wanted) and "checkpoints" not in name
    }


def _losses(run):
    return [row["loss"] for _, row in files.read_jsonl(StoragePath(run) / "metrics.jsonl")]


def _digest(run):
    checkpoints, step = saved_model.open_checkpoint(run)
    return checkpoints.meta(step)["parameters"]


@pytest.mark.parametrize(("verb", "every"), [("prepare", 2), ("train", 5)])
def test_a_command_on_a_bad_connection_ends_with_the_right_files(
    command, proxy, bucket, verb, every, monkeypatch
):
    """`prepare` reads few objects, and only the client of `train` names ArrayRecord files."""
    monkeypatch.setattr(objects, "PATIENCE", 4.0)
    faults = [
        proxy.fail("reset", "read|write|list|stat", "^(?!.*array_record)", every=13),
        proxy.fail(503, path="^(?!.*array_record)", every=17),
        proxy.fail("truncated", "read", "^(?!.*array_record)", every=every),
        proxy.fail("short", "read", "^/download", every=every),
    ]
    if verb == "train":
        faults.append(proxy.fail("reset", path="array_record", times=1))  # its client pauses long
    assert command(verb) == (0, "")
    for fault in faults:
        assert fault.failed, fault
    name = "data" if verb == "prepare" else verb
    proxy.clear()
    assert _contents(f"{bucket}/out") == _contents(f"{BASE}/{name}") != {}
    if verb == "train":
        assert _digest(f"{bucket}/out") == _digest(f"{BASE}/train")


@pytest.mark.parametrize("verb", ["annotate", "evaluate", "report", "import", "export"])
def test_a_store_that_is_down_for_a_moment_does_not_end_a_command(command, proxy, verb):
    fault = proxy.fail(503, times=4, after=20)
    assert command(verb) == (0, "")
    assert fault.failed == 4


@pytest.mark.parametrize(
    ("verb", "pattern", "message"),
    [
        ("prepare", "samples.jsonl", f"{BASE}/samples.jsonl: no such file; restore it"),
        ("train", "manifest.json", f"{BASE}/data/mix/manifest.json: no such file; restore it"),
        ("annotate", "samples.jsonl", f"{BASE}/samples.jsonl: no such file; restore it"),
        ("annotate", "meta/metadata", f"{BASE}/train/checkpoints/4: incomplete checkpoint, meta"),
        ("annotate", "params/.*ocdbt", f"{BASE}/train/checkpoints/4: incomplete checkpoint, param"),
        ("annotate", "sentencepiece", f"{BASE}/train/vocabulary/sentencepiece.model: "),
    ],
)
def test_an_object_that_vanished_after_it_was_listed_is_named(
    command, proxy, verb, pattern, message
):
    fault = proxy.fail(404, "read", pattern)
    status, line = command(verb)
    assert fault.failed
    assert status == 2 and line.startswith(message)


@pytest.mark.parametrize("pattern", ["4/meta/", "4/params/.*ocdbt"])
@pytest.mark.parametrize("answer", [401, 403, 503])
def test_a_checkpoint_that_cannot_be_read_from_its_store_is_not_called_damaged(
    command, proxy, monkeypatch, answer, pattern
):
    monkeypatch.setattr(objects, "PATIENCE", 0.3)
    proxy.fail(answer, "read", pattern)
    status, line = command("evaluate")
    assert status == 2
    assert re.match(f"{BASE}/train/checkpoints/4/.*: cannot be read: ", line)
    assert "incomplete" not in line and "remove" not in line


def test_a_run_without_a_config_any_more_is_shown_in_the_report(command, proxy, bucket):
    proxy.fail(404, "read", "train/config.json")
    assert command("report") == (0, "")
    assert f"{BASE}/train/config.json: no such file".encode() in objects.read(
        f"{bucket}/out/report.html"
    )


@pytest.mark.parametrize(
    ("answer", "kind", "pattern", "named", "resumed"),
    [
        (403, "write", "uploadType=media.*checkpoints/2/params", "checkpoints/2/params/", False),
        (503, "write", "uploadType=media.*checkpoints/4", "checkpoints/4/", True),
        (404, "write", "uploadType=media.*checkpoints/4", "checkpoints/4/", False),
        (403, "write", "uploadType=media.*checkpoints/2/params/d/", "checkpoints: cannot", False),
        (503, "list", "checkpoints/2", "checkpoints/2", False),
        (503, "write", "uploadType=multipart", "", False),
    ],
)
def test_training_that_loses_its_store_ends_with_one_line_and_is_resumed(
    command, proxy, bucket, monkeypatch, answer, kind, pattern, named, resumed
):
    """In the middle of training, in its last checkpoint, and in the copies of its files."""
    monkeypatch.setattr(objects, "PATIENCE", 0.5)
    fault = proxy.fail(answer, kind, pattern, after=0 if named else 10)
    status, line = command("train")
    assert status == 2 and fault.failed and line.startswith(f"{bucket}/out/{named}")
    if resumed:
        proxy.clear()
        monkeypatch.setattr(objects, "PATIENCE", 3.0)
        assert command("train") == (0, "")
        assert _losses(f"{bucket}/out") == _losses(f"{BASE}/train")
        assert _digest(f"{bucket}/out") == _digest(f"{BASE}/train")


@pytest.mark.parametrize("after", [0, 12])
@pytest.mark.parametrize("answer", [403, 404, 503])
def test_training_that_loses_its_data_ends_with_one_line(
    command, proxy, monkeypatch, answer, after
):
    """The first rows are read when the data is opened."""
    monkeypatch.setattr(objects, "PATIENCE", 0.5)
    fault = proxy.fail(answer, "read", "^/storage/.*array_record", after=after)
    status, line = command("train")
    assert status == 2 and line.startswith(f"{BASE}/data/mix") and fault.failed


@pytest.mark.parametrize("answer", [503, "reset"])
def test_training_that_loses_its_store_while_it_copies_the_data_is_repeated(
    command, proxy, bucket, tmp_path, monkeypatch, answer
):
    monkeypatch.setattr(objects, "PATIENCE", 0.5)
    fault = proxy.fail(answer, "read", "array_record")
    cache = f"--config.data_cache={tmp_path}"
    status, line = command("train", cache)
    assert status == 2 and fault.failed and line.startswith(f"{BASE}/data/mix/rows-")
    proxy.clear()
    read = proxy.fail(503, "read", "^/storage/.*array_record")  # of single rows
    assert command("train", cache) == (0, "") and not read.failed
    assert _losses(f"{bucket}/out") == _losses(f"{BASE}/train")


def test_files_of_a_run_that_are_not_in_the_bucket_at_its_end_are_named(command, proxy, bucket):
    """Objects of the clients carry their names in the first lines of a request, not in its path."""
    fault = proxy.fail(403, "write", after=6)
    status, line = command("annotate")
    assert status == 2 and fault.failed
    assert line.startswith(f"{bucket}/out/") and "cannot be written: permission denied" in line


def test_credentials_are_never_shown_or_kept(commands, proxy, bucket, capfd, monkeypatch):
    secret = "ya29.SECRET"
    host = proxy.url.removeprefix("http://")
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", secret)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://user:{secret}@{host}")
    shown = ""
    for kind, path in (("write", "uploadType=media"), ("read", ""), ("list", ""), ("write", "")):
        proxy.clear()
        proxy.fail(403, kind, path)
        words = ["train", f"--config={commands}:train", f"--config.output={bucket}/{len(shown)}"]
        assert main(words) == 2
        shown += "".join(capfd.readouterr())
        headers = {name: text for *_, entry in proxy.seen for name, text in entry.items()}
        assert "Authorization" in headers
    proxy.clear()
    assert "permission denied" in shown
    kept = b"".join(objects.read(f"{bucket}/{name}") for name in objects.listing(bucket))
    assert "SECRET" not in shown and b"SECRET" not in kept and kept


@pytest.mark.parametrize("verb", [*VERBS, "import", "export"])
def test_a_run_folder_in_another_store_is_refused_by_name(commands, capsys, verb):
    words = [verb, f"--config={commands}:{verb}", "--config.output=s3://bucket/run"]
    if verb in ("import", "export"):
        source = str(commands.parent / "hf") if verb == "import" else f"{BASE}/train"
        words = ["convert", source, "s3://bucket/run"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "s3://bucket/run" in line and "gs://" in line


@pytest.mark.parametrize("verb", ["prepare", "annotate", "evaluate"])
def test_a_source_in_another_store_names_the_missing_package(command, verb):
    status, line = command(verb, "--config.root=s3://bucket/sets")
    assert status == 2
    assert line == (
        "s3://bucket/sets/samples.jsonl: no installed package can read s3:// (Install s3fs to "
        "access S3); run pip install s3fs, or copy the files to this machine"
    )
