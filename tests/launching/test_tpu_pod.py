import shlex
import subprocess
import sys
import time

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import accelerators, hosts, tpu_pod
from teacherlm_jax.launching.gcloud import QueuedSlice
from teacherlm_jax.launching.lifecycle import Lifecycle
from teacherlm_jax.launching.shell import Answer, Shell

HOSTILE = (
    "--config.output=two  spaces, 'single', \"double\", $HOME `id` $(id); echo no && * ? ~ | > #\n"
    "\\n\\ and é"
)
TRAIN = ["train", "--config=configs/teacher.py:560m,stage1", HOSTILE]


def arguments(checkout, action, *options, words=()):
    """Return the launcher's command line for one slice, without pauses."""
    return [
        *(action, "--name=mine", "--zone=us-west4-a", "--project=p", "--poll=0"),
        *("--accelerator_type=v5litepod-16", "--runtime_version=v2-alpha-tpuv5-lite"),
        *(f"--source={checkout}", "--python=./python", *options),
        *(["--", *words] if words else []),
    ]


@pytest.fixture
def pod(cloud, checkout):
    def call(action, *options, words=()):
        return tpu_pod.main(arguments(checkout, action, *options, words=words))

    return call


def test_a_run_creates_a_slice_installs_runs_and_deletes_the_slice(pod, cloud):
    cloud.cue(states=["WAITING_FOR_RESOURCES", "PROVISIONING"])
    assert pod("run", "--spot", "--tear_down", words=TRAIN) == 0
    looks = ["describe", "create", "describe", "describe", "describe"]
    assert cloud.commands == [*looks, "scp", "ssh", "ssh", "delete"]
    create = next(words for words in cloud.calls if words[3] == "create")
    assert create == [
        *("compute", "tpus", "queued-resources", "create", "mine", "--node-id=mine"),
        *("--zone=us-west4-a", "--project=p", "--quiet", "--accelerator-type=v5litepod-16"),
        *("--runtime-version=v2-alpha-tpuv5-lite", "--spot"),
    ]
    assert not (cloud.folder / "created").exists()


def test_every_value_arrives_on_the_hosts_unchanged(pod, cloud):
    assert pod("run", words=TRAIN) == 0
    assert cloud.runs == [[TRAIN, "auto", str(cloud.home / "teacherlm_jax")]]


def test_a_dry_run_prints_exactly_the_commands_of_a_run(pod, cloud, capfd):
    assert pod("run", "--dry_run", "--tear_down", words=TRAIN) == 0
    printed = capfd.readouterr().out
    assert not cloud.calls
    subprocess.run(["bash", "-c", printed], check=True)  # typed by a person
    typed = list(cloud.calls)
    (cloud.folder / "calls.jsonl").unlink()
    assert pod("run", "--tear_down", words=TRAIN) == 0
    assert cloud.calls == typed and len(typed) == 7
    assert cloud.runs[0] == cloud.runs[1]


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
def test_a_run_on_a_preempted_slice_is_resumed_on_a_new_one(pod, cloud, state):
    cloud.cue(states=["ACTIVE", "SUSPENDING", state], ssh=[0, 1])
    assert pod("run", words=TRAIN) == 0
    first = ["describe", "create", "describe", "scp", "ssh", "ssh"]
    again = ["describe", "describe", "delete", "create", "describe", "scp", "ssh", "ssh"]
    assert cloud.commands == [*first, *again]
    scripts = [words for words in cloud.calls if words[3] == "ssh"]
    assert scripts[1] == scripts[3], "the same command resumes the run"
    assert len(cloud.runs) == 1


def test_a_lost_connection_restarts_the_run_and_the_third_replaces_the_slice(pod, cloud):
    cloud.cue(ssh=[0, 255, 0, 255, 0, 255])
    assert pod("run", words=TRAIN) == 0
    assert cloud.commands.count("create") == 2
    assert cloud.commands.count("delete") == 1
    assert len(cloud.runs) == 1


def test_a_failed_query_of_the_state_is_repeated(pod, cloud):
    cloud.cue(ssh=[0, 255], describe=[0, 0, 1, 1])
    assert pod("run", words=TRAIN) == 0
    first = ["describe", "create", "describe", "scp", "ssh", "ssh"]
    again = ["describe", "describe", "describe", "describe", "scp", "ssh", "ssh"]
    assert cloud.commands == [*first, *again]


def test_a_state_that_cannot_be_queried_at_all_ends_the_launcher(pod, cloud, capsys):
    cloud.cue(ssh=[0, 255], describe=[0, 0, *[1] * 99])
    assert pod("run", words=TRAIN) == 2
    assert "gcloud cannot query its state" in capsys.readouterr().err


def test_restarts_are_limited(pod, cloud, capsys):
    cloud.cue(ssh=[0, 255, 0, 255])
    assert pod("run", "--restarts=1", words=TRAIN) == 2
    assert "status 255, and --restarts=1 are used up" in capsys.readouterr().err


@pytest.mark.parametrize("status", [1, 2])
def test_a_failure_of_the_program_is_not_restarted(pod, cloud, status):
    cloud.cue(ssh=[0, status])
    assert pod("run", "--tear_down", words=TRAIN) == status
    assert cloud.commands.count("ssh") == 2
    assert "delete" not in cloud.commands, "the slice is kept for inspection"


def test_a_request_that_gcloud_refuses_ends_with_the_reason(pod, cloud, capsys):
    cloud.cue(create=[1])
    assert pod("run", words=TRAIN) == 2
    assert "mine: gcloud create failed with status 1" in capsys.readouterr().err
    assert cloud.commands == ["describe", "create"]


def test_an_unknown_state_is_reported_and_nothing_is_created(pod, cloud, capsys):
    (cloud.folder / "created").touch()
    cloud.cue(describe=[1], states=["no permission"])
    assert pod("run", words=TRAIN) == 2
    assert "gcloud cannot query its state" in capsys.readouterr().err
    assert cloud.commands == ["describe"]


def test_an_installed_commit_is_not_installed_again(pod, cloud):
    for _ in range(2):
        assert pod("run", "--before=echo 'two  words' >> lacked", words=TRAIN) == 0
    assert (cloud.home / "lacked").read_text() == "two  words\n"
    assert (cloud.home / "teacherlm_jax" / "requirements.txt").exists()


def test_another_commit_replaces_the_files_of_the_one_before_and_keeps_the_runs(
    pod, cloud, checkout
):
    def commit(*words):
        for command in (["add", "--all"], ["commit", "--quiet", "--message=next"]):
            subprocess.run(["git", *words, *command], cwd=checkout, check=True)

    tree = cloud.home / "teacherlm_jax"
    (checkout / "of an earlier commit.py").write_text("")
    commit("-c", "user.name=test", "-c", "user.email=test@example.org")
    assert pod("run", words=TRAIN) == 0
    assert (tree / "of an earlier commit.py").exists()
    (tree / "runs/mine").mkdir(parents=True)
    (tree / "runs/mine/result.json").write_text("{}")
    (checkout / "of an earlier commit.py").unlink()
    commit("-c", "user.name=test", "-c", "user.email=test@example.org")
    assert pod("run", words=TRAIN) == 0
    assert not (tree / "of an earlier commit.py").exists()
    assert (tree / "runs/mine/result.json").exists()
    assert (tree / "requirements.txt").exists()


def test_an_earlier_run_saves_before_the_next_one_starts(pod, cloud):
    script = cloud.home / "teacherlm-old"
    script.write_text("trap 'echo saved > saved; exit' TERM\nwhile :; do sleep 0.05; done\n")
    left = subprocess.Popen(["bash", script], cwd=cloud.home)
    (cloud.home / "teacherlm.pid").write_text(str(left.pid))
    assert pod("run", words=TRAIN) == 0
    assert left.wait(timeout=10) == 0
    assert (cloud.home / "saved").exists()


def test_after_a_signal_the_hosts_save_and_there_is_no_restart(cloud, checkout):
    words = arguments(checkout, "run", words=[*TRAIN[:2], "--config.init_from=wait"])
    launcher = subprocess.Popen([sys.executable, "-m", "teacherlm_jax.launching.tpu_pod", *words])
    end = time.monotonic() + 60
    while not (cloud.home / "runs.jsonl").exists():
        assert launcher.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    launcher.terminate()
    assert launcher.wait(timeout=60) == 143
    assert (cloud.home / "saved").exists()
    assert cloud.commands == ["describe", "create", "describe", "scp", "ssh", "ssh", "ssh"]


def test_a_signal_at_the_end_of_the_run_causes_no_restart():
    ends = ["sh", "-c", "sleep 0.05; kill -TERM $PPID; exit 255"]
    assert Shell().attend(ends, ["true"]) == (143, True)


def test_uncommitted_changes_are_refused(pod, cloud, checkout, capsys):
    (checkout / "requirements.txt").write_text("changed")
    try:
        assert pod("run", words=TRAIN) == 2
    finally:
        (checkout / "requirements.txt").write_text("")
    assert "has uncommitted changes" in capsys.readouterr().err
    assert not cloud.calls


@pytest.mark.parametrize(
    ("action", "words", "message"),
    [
        ("run", [], "expected a command after -- for `run`"),
        ("delete", TRAIN, "expected a command after -- for `run`"),
        ("run --accelerator_type=", TRAIN, "--accelerator_type and --runtime_version are required"),
        ("run --source=/", TRAIN, "set --source to a git checkout"),
        ("run", ["trian", *TRAIN[1:]], "unknown command 'trian'"),
        ("run", ["train", "--config=nope.py"], "nope.py: no such config file"),
        ("run", [*TRAIN, "--config.lerning_rate=1"], "lerning_rate"),
        ("run", [*TRAIN, "--config.steps=many"], "steps"),
        (
            "run",
            ["report", "--config.root=runs", "--config.output=r"],
            "report: runs in one process only",
        ),
        ("run --accelerator_type=v5litepod-17", TRAIN, "the nearest is v5litepod-16"),
        ("run --accelerator_type=v6e-200", TRAIN, "the nearest is v6e-256"),
        ("run", [*TRAIN, "--config.mesh.fsdp=7"], "must divide the number of devices, 16; "),
        ("run --accelerator_type=v6e-8", [*TRAIN, "--config.mesh.data=16"], "devices, 8; "),
        ("run --accelerator_type=v5p-8", TRAIN, "for other TPUs use launch/gke.py"),
        ("run --accelerator_type=tpu7x-8", TRAIN, "for other TPUs use launch/gke.py"),
    ],
)
def test_an_invalid_command_line_is_refused_before_any_call(
    pod, cloud, capsys, action, words, message
):
    for options in ([], ["--dry_run"]):
        assert pod(*action.split(), *options, words=words) == 2
        shown = capsys.readouterr()
        assert message in shown.err
        assert shown.out == ""
    assert not cloud.calls


def test_a_missing_gcloud_is_reported_with_the_remedy(pod, cloud, capsys, monkeypatch):
    (cloud.folder / "bin" / "gcloud").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    assert pod("delete") == 2
    assert "gcloud: command not found" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        "ERROR: (gcloud.compute.tpus.queued-resources.describe) UNAVAILABLE: try again",
        "ERROR: gcloud crashed (ConnectionError): Connection reset by peer",
        "ERROR: HTTPError 503: backend error",
    ],
)
def test_a_query_is_retried_after_a_transient_error(pod, cloud, capsys, error):
    cloud.cue(states=["PROVISIONING"], describe=[0, 0, 1, 1], errors=[error, error])
    assert pod("run", words=TRAIN) == 0
    assert cloud.commands == ["describe", "create", *["describe"] * 4, "scp", "ssh", "ssh"]
    assert "retrying in 0 s" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["create", "delete"])
def test_create_and_delete_are_retried_after_a_transient_error(pod, cloud, command):
    cloud.cue(**{command: [1]}, errors=["UNAVAILABLE"])
    assert pod("run", "--tear_down", words=TRAIN) == 0
    assert cloud.commands.count(command) == 2


def test_a_lasting_error_ends_the_launcher_after_a_stated_time(pod, cloud, capsys):
    cloud.cue(describe=[1] * 99, errors=["UNAVAILABLE"] * 99)
    assert pod("run", words=TRAIN) == 2
    assert "describe failed 9 times in 0 s: UNAVAILABLE" in capsys.readouterr().err
    assert cloud.commands == ["describe"] * 9


def test_a_permission_error_is_not_retried(pod, cloud, capsys):
    cloud.cue(create=[1], errors=["PERMISSION_DENIED: who are you?"])
    assert pod("run", words=TRAIN) == 2
    assert "create failed with status 1: PERMISSION_DENIED: who" in capsys.readouterr().err
    assert cloud.commands == ["describe", "create"]


def test_pauses_between_retries_grow():
    class Refusing(Shell):
        def __init__(self):
            self.pauses = []

        def ask(self, words):
            return Answer(1, "", "UNAVAILABLE")

        def wait(self, seconds):
            self.pauses.append(seconds)

    shell = Refusing()
    lifecycle = Lifecycle(QueuedSlice("mine", "zone"), shell, poll=30, restarts=0)
    with pytest.raises(UserError, match="failed 9 times in 1650 s"):
        lifecycle.make_ready()
    assert shell.pauses == [30, 60, 120, 240, 300, 300, 300, 300]


def test_an_uncommitted_config_file_is_refused(pod, cloud, checkout, capsys):
    new = checkout / "configs" / "new.py"
    new.write_text((checkout / "configs" / "teacher.py").read_text())
    try:
        assert pod("run", "--dry_run", words=["train", "--config=configs/new.py:x"]) == 2
    finally:
        new.unlink()
    assert "configs/new.py: not part of the commit" in capsys.readouterr().err


def test_an_empty_value_arrives_on_the_hosts():
    assert shlex.split(hosts.run(["train", "--config.init_from=", ""], "c"))[-1] == ""


def test_a_secret_in_a_line_for_the_hosts_is_not_printed(pod, cloud, capfd):
    assert pod("run", "--before=export HF_TOKEN=xyz", "--dry_run", words=TRAIN) == 0
    shown = capfd.readouterr().out
    assert "HF_TOKEN=***" in shown and "xyz" not in shown


@pytest.mark.parametrize("name", ["v5litepod-16", "v5litepod-1", "v6e-256"])
def test_accelerator_types_that_exist_are_accepted(name):
    accelerators.require_known(name)
