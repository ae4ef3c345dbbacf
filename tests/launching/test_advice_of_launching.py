"""Advice in messages of the launchers, followed with a fake gcloud."""

import os
import re
import shutil
import subprocess
import tempfile

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import accelerators, command_check, tpu_pod

TRAIN = ["train", "--config=configs/teacher.py"]
COMMON = ("--name=mine", "--zone=us-west4-a", "--poll=0", "--python=./python")
TYPE, IMAGE = "--accelerator_type=v5litepod-16", "--runtime_version=v2-alpha-tpuv5-lite"


@pytest.fixture
def source(checkout, tmp_path):
    """A checkout that a test may change."""
    return shutil.copytree(checkout, tmp_path / "source")


@pytest.fixture
def launch(cloud, source, monkeypatch, capfd):
    """Function that runs a command line of the launcher; it returns the status and stderr."""
    # The validation in a child process, which has tests of its own.
    monkeypatch.setattr(command_check, "require_valid", lambda *_: None)

    def call(action, *options, words=(), slice_options=(TYPE, IMAGE)):
        line = [action, *COMMON, f"--source={source}", *slice_options, *options]
        status = tpu_pod.main([*line, *(["--", *words] if words else [])])
        return status, capfd.readouterr().err

    return call


def git(source, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", source, *identity, *words], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["v5e-16", "v5litepod-17"])
def test_a_slice_of_the_accelerator_type_that_a_message_names_can_be_created(launch, name):
    status, message = launch("run", f"--accelerator_type={name}", words=TRAIN)
    assert status == 2
    named = re.search(r"(?:as in --accelerator_type=|the nearest is )([\w-]+)", message)[1]
    assert launch("run", f"--accelerator_type={named}", words=TRAIN)[0] == 0


@pytest.mark.parametrize("version", ["v5litepod", "v6e"])
@pytest.mark.parametrize("size", ["", "-0", "-100000", "-2x4"])
def test_the_nearest_accelerator_type_exists(version, size):
    with pytest.raises(UserError) as raised:
        accelerators.require_known(version + size)
    accelerators.require_known(re.search(r"the nearest is (\S+)$", str(raised.value))[1])


def test_the_options_that_a_message_requires_are_enough(launch):
    status, message = launch("run", slice_options=(), words=TRAIN)
    assert status == 2
    options = re.search(r"as in (--accelerator_type=\S+) (--runtime_version=\S+)", message).groups()
    assert launch("run", slice_options=options, words=TRAIN)[0] == 0


@pytest.mark.parametrize("action", ["run", "delete"])
def test_a_command_is_given_to_run_and_to_no_other_action(launch, action):
    refused, accepted = ((), TRAIN) if action == "run" else (TRAIN, ())
    status, message = launch(action, words=refused)
    assert (status, "for `run`, and none for `delete`" in message) == (2, True)
    assert launch(action, words=accepted)[0] == 0


def test_the_source_can_be_set_to_a_git_checkout(launch, source):
    status, message = launch("run", "--source=/", words=TRAIN)
    assert (status, "set --source to a git checkout" in message) == (2, True)
    assert launch("run", f"--source={source}", words=TRAIN)[0] == 0


@pytest.mark.parametrize("way", [("commit", "-qam", "second"), ("stash",)], ids=["commit", "stash"])
def test_uncommitted_changes_can_be_committed_or_stashed(launch, source, way):
    (source / "requirements.txt").write_text("changed")
    status, message = launch("run", words=TRAIN)
    assert (status, "requirements.txt\ncommit or stash them" in message) == (2, True)
    git(source, *way)
    assert launch("run", words=TRAIN)[0] == 0


def test_a_config_file_can_be_committed(launch, source, cloud):
    (source / "configs" / "new.py").write_text("# new")
    words = ["train", "--config=configs/new.py"]
    status, message = launch("run", words=words)
    assert (status, "configs/new.py: not part of the commit" in message) == (2, True)
    git(source, "add", "configs/new.py")
    git(source, "commit", "-qm", "second")
    assert launch("run", words=words)[0] == 0
    assert (cloud.home / "teacherlm_jax" / "configs" / "new.py").exists()


def test_an_archive_is_written_after_setting_tmpdir(launch, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "removed"))
        status, message = launch("run", words=TRAIN)
    assert (status, "removed/teacherlm_jax-" in message.partition("\n")[0]) == (2, True), message
    assert "(git's message is above); set TMPDIR to a folder that has free space" in message
    (tmp_path / "free").mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path / "free"))
        patch.setattr(tempfile, "tempdir", None)  # a new process reads TMPDIR
        assert launch("run", words=TRAIN)[0] == 0
    assert [path.suffix for path in (tmp_path / "free").iterdir()] == [".gz"]


CHECK = "check --zone, --project, the quota and `gcloud auth list`, and repeat the command"
# Actions, options, cues for a fault of gcloud, and words of the message.
REPEATED = {
    "not listed": (
        *("run", ["--restarts=0"]),
        {"describe": [0, 1], "errors": ["NOT_FOUND"]},
        "was requested, but gcloud does not list it; repeat the command",
    ),
    "restarts": (
        *("run", ["--restarts=0"]),
        {"ssh": [0, 255]},
        "--restarts=0 are used up; repeat the command to resume the run",
    ),
    "query": (
        *("run", []),
        {"describe": [1], "errors": ["PERMISSION_DENIED"]},
        f"gcloud cannot query its state: PERMISSION_DENIED; {CHECK}",
    ),
    "create": (
        *("run", []),
        {"create": [1], "errors": ["QUOTA_EXCEEDED"]},
        f"gcloud create failed with status 1: QUOTA_EXCEEDED; {CHECK}",
    ),
    "lasting": (
        *("run", []),
        {"create": [1] * 9, "errors": ["UNAVAILABLE"] * 9},
        "cost money: repeat the command, or delete the slice with the action `delete`",
    ),
}


@pytest.mark.parametrize("fault", REPEATED)
def test_the_repeated_command_works_after_a_fault_of_the_cloud_is_gone(launch, cloud, fault):
    action, options, cues, words = REPEATED[fault]
    if fault == "query":
        (cloud.folder / "created").touch()
    cloud.cue(**cues)
    status, message = launch(action, *options, words=TRAIN)
    assert (status, words in message) == (2, True), message
    cloud.cue()
    assert launch(action, *options, words=TRAIN)[0] == 0
    if fault == "lasting":
        assert launch("delete", slice_options=())[0] == 0
        assert not (cloud.folder / "created").exists()


@pytest.mark.parametrize("program", ["git", "gcloud"])
def test_a_missing_program_is_named_and_the_command_works_once_it_is_installed(
    launch, tmp_path, monkeypatch, program
):
    path = os.environ["PATH"]
    (tmp_path / "bin").mkdir()
    others = {"git", "gcloud", "bash", "env", "gzip"} - {program}
    for other in others:
        (tmp_path / "bin" / other).symlink_to(shutil.which(other))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    status, message = launch("run", words=TRAIN)
    assert (status, f"{program}: command not found; install " in message) == (2, True)
    monkeypatch.setenv("PATH", path)
    assert launch("run", words=TRAIN)[0] == 0
