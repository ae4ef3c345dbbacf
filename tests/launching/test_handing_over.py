"""Launchers that hand a command over, with fakes of gcluster, sky and sbatch."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import teacherlm_jax
from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import gke, handover, masking, skypilot_node, submit

ROOT = Path(teacherlm_jax.__file__).parents[1]
FAKE = Path(__file__).with_name("schedulers.py")
HOSTILE = (
    "--config.output=gs://b/two  spaces, 'single', \"double\", "
    "$HOME $$ $(id) `id`; echo no && * | >"
)
TRAIN = ["train", "--config=configs/teacher.py:560m,stage1", HOSTILE]
SECRET = "hf_abcdefgh12345678"
MASKED = f"HF_TOKEN={masking.MASK}"
PROCESS = """#!{python}
import json, os, signal, sys
names = ["JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "HF_TOKEN",
         "TEACHERLM_DISTRIBUTED"]
names = [name for name in names if name in os.environ]
if "--validate" in sys.argv:
    sys.exit("no such key" in sys.argv and 2)
folder = os.environ["TEACHERLM_FAKE"]
with open(folder + "/runs.jsonl", "a") as runs:
    runs.write(json.dumps([sys.argv[1:], {{name: os.environ[name] for name in names}}]) + "\\n")
statuses = json.load(open(folder + "/statuses.json"))
status = statuses.pop(0) if statuses else 0
json.dump(statuses, open(folder + "/statuses.json", "w"))
if status == 137:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(status)
"""


class Schedulers:
    """The fakes on the path, their calls, and the runs of `teacherlm` that they started."""

    def __init__(self, folder):
        self.folder = folder

    def cue(self, *statuses, **cues):
        """Set the exit statuses of the runs, and those of the programs by name."""
        (self.folder / "statuses.json").write_text(json.dumps(statuses))
        (self.folder / "cues.json").write_text(json.dumps(cues))

    def _lines(self, name):
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def calls(self):
        return self._lines("calls.jsonl")

    @property
    def programs(self):
        return [words[0] for words in self.calls]

    @property
    def runs(self):
        return self._lines("runs.jsonl")

    @property
    def status(self):
        """Exit status of the job."""
        return int((self.folder / "status").read_text())


@pytest.fixture
def schedulers(tmp_path, monkeypatch):
    folder = tmp_path / "fake"
    (folder / "bin").mkdir(parents=True)
    names = ("gcluster", "sky", "sbatch", "srun", "scontrol")
    texts = dict.fromkeys(names, f"#!{sys.executable}\n{FAKE.read_text()}")
    for name, text in (texts | {"teacherlm": PROCESS.format(python=sys.executable)}).items():
        path = folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
    monkeypatch.setenv("TEACHERLM_FAKE", str(folder))
    monkeypatch.setenv("TEACHERLM", str(folder / "bin" / "teacherlm"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    made = Schedulers(folder)
    made.cue()
    return made


@pytest.fixture
def clone(checkout, tmp_path, monkeypatch, schedulers):
    """A clone in which the current folder is, whose .venv has the fake `teacherlm`."""
    folder = shutil.copytree(checkout, tmp_path / "clone")
    shutil.copytree(ROOT / "launch", folder / "launch")
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = folder / ".venv" / "bin" / "python"  # for skypilot_node, whose command is a fake
    python.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from teacherlm_jax.launching import skypilot_node\n"
        f"sys.executable = {str(folder / 'launched')!r}\n"
        "skypilot_node.main()\n"
    )
    launched = folder / "launched"  # gets `-m teacherlm_jax WORDS`
    launched.write_text(f'#!/bin/bash\nshift 2\nexec {schedulers.folder}/bin/teacherlm "$@"\n')
    python.chmod(0o755)
    launched.chmod(0o755)
    monkeypatch.chdir(folder)
    return folder


GKE = ("--name=mine", "--slice=v5e:4x4", "--image=us-docker.pkg.dev/p/r/i:1", "--bucket=gs://b")


def launch(scheduler, *options, words=TRAIN):
    if scheduler == "gke":
        return gke.main([*GKE, *options, "--", *words])
    return submit.main([scheduler, *options, "--", *words])


ALL = ["gke", "slurm", "skypilot"]


@pytest.mark.parametrize("scheduler", ALL)
def test_every_value_arrives_unchanged(schedulers, clone, scheduler):
    assert launch(scheduler) == 0
    assert [words for words, _ in schedulers.runs] == [TRAIN] * (
        2 if scheduler == "skypilot" else 1
    )
    assert schedulers.status == 0


def test_gcluster_gets_slice_image_restarts_and_grace(schedulers, clone):
    place = ("--cluster=c", "--location=us-west4", "--project=p")
    assert launch("gke", *place, "--slices=2", "--grace=300", "--submit_flag=--queue=q") == 0
    (call,) = schedulers.calls
    assert call[:-1] == [
        *("gcluster", "job", "submit", "--name=mine", *place),
        *("--compute-type=v5litepod-16", "--topology=4x4", "--num-slices=2"),
        *("--image=us-docker.pkg.dev/p/r/i:1", "--restarts=20"),
        *("--restart-on-exit-codes=75,134,137,143", "--grace-period=300s", "--queue=q"),
    ]
    assert call[-1].startswith("--command=exec env TEACHERLM_DISTRIBUTED=auto")
    assert schedulers.runs[0][1] == {"TEACHERLM_DISTRIBUTED": "auto"}


@pytest.mark.parametrize("scheduler", ALL)
@pytest.mark.parametrize("status", handover.RESTARTED)
def test_the_same_command_is_run_again_after_a_status_that_can_be_resumed(
    schedulers, clone, scheduler, status
):
    options = ["--nodes=1"] if scheduler == "skypilot" else []
    schedulers.cue(status, status)
    assert launch(scheduler, *options) == 0
    assert [words for words, _ in schedulers.runs] == [TRAIN] * 3
    assert schedulers.status == 0


@pytest.mark.parametrize("scheduler", ALL)
@pytest.mark.parametrize("status", [1, 2])
def test_a_failure_of_the_program_is_not_restarted(schedulers, clone, scheduler, status):
    options = ["--nodes=1"] if scheduler == "skypilot" else []
    schedulers.cue(status)
    assert launch(scheduler, *options) == 0, "the job was submitted"
    assert len(schedulers.runs) == 1
    assert schedulers.status == status


@pytest.mark.parametrize("scheduler", ["gke", "slurm"])
def test_restarts_are_limited(schedulers, clone, scheduler, monkeypatch):
    monkeypatch.setenv("TEACHERLM_RESTARTS", "3")
    schedulers.cue(*[143] * 30)
    assert launch(scheduler, *(["--restarts=3"] if scheduler == "gke" else [])) == 0
    assert (len(schedulers.runs), schedulers.status) == (4, 143)


@pytest.mark.parametrize("scheduler", ALL)
def test_a_dry_run_prints_exactly_the_command_that_is_run(schedulers, clone, scheduler, capfd):
    assert launch(scheduler, "--dry_run") == 0
    printed = capfd.readouterr().out
    assert not schedulers.calls
    assert launch(scheduler) == 0
    assert shlex.split(printed) == schedulers.calls[0]


PROGRAMS = {"gke": "gcluster", "slurm": "sbatch", "skypilot": "sky"}


@pytest.mark.parametrize("scheduler", ALL)
def test_the_status_of_a_scheduler_that_refuses_is_passed_on(schedulers, clone, scheduler, capfd):
    program = PROGRAMS[scheduler]
    schedulers.cue(**{program: [3]})
    assert launch(scheduler) == 3
    assert f"{program}: refused" in capfd.readouterr().out
    assert not schedulers.runs
    assert launch(scheduler) == 0
    assert schedulers.runs


@pytest.mark.parametrize("scheduler", ALL)
def test_a_missing_program_is_reported_with_the_remedy(
    schedulers, clone, scheduler, capfd, monkeypatch
):
    program = PROGRAMS[scheduler]
    monkeypatch.setenv("PATH", "/nowhere")
    assert launch(scheduler) == 2
    assert f"launch: {program}: command not found; " in capfd.readouterr().err


INVALID = [
    (["trian", *TRAIN[1:]], "unknown command 'trian'"),
    (["train", "--config=nope.py", HOSTILE], "nope.py: no such config file"),
    ([*TRAIN, "--config.lerning_rate=1"], "lerning_rate"),
    ([*TRAIN, "--config.steps=many"], "steps"),
    (["report", "--config.root=gs://b/r", "--config.output=gs://b/p"], "runs in one process only"),
]


@pytest.mark.parametrize("scheduler", ALL)
@pytest.mark.parametrize(("words", "message"), INVALID)
def test_an_invalid_command_is_refused_before_anything_is_printed_or_called(
    schedulers, clone, scheduler, words, message, capfd
):
    assert launch(scheduler, "--dry_run", words=words) == 2
    shown = capfd.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert not schedulers.calls


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--slice=v5e:4x5", "--slice=v5e:4x5: no slice has this shape"),
        ("--slice=v4:2x2x1", "unknown chip 'v4'; expected one of v5e, v5p, v6e"),
        ("--slice=tpu7x:2x2", "GKE also has tpu7x, as in --slice=tpu7x:2x2x1"),
        ("--name=Mine_1", "--name=Mine_1: expected at most 28 lower-case letters"),
        (f"--name={'a' * 29}", "expected at most 28 lower-case letters"),
        ("--bucket=my-bucket", "--bucket=my-bucket: expected a bucket, as in gs://my-bucket"),
        ("--bucket=gs://other", "does not name it, and files elsewhere are lost with the pods"),
        ("--env=1A=b", "--env=1A: expected NAME=VALUE"),
        ("--env=NOT_SET_HERE", "--env=NOT_SET_HERE: NOT_SET_HERE is not set here"),
    ],
)
def test_an_invalid_description_of_a_gke_job_is_refused(schedulers, clone, option, message, capfd):
    assert launch("gke", option, "--dry_run") == 2
    shown = capfd.readouterr()
    assert message in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("topology", "kind"),
    [
        ("v5e:8x8", ("v5litepod-64", "8x8")),
        ("v6e:2x4", ("v6e-8", "2x4")),
        ("v5p:4x4x8", ("v5p-128", "4x4x8")),
        ("tpu7x:2x2x1", ("tpu7x", "2x2x1")),
    ],
)
def test_a_slice_has_the_compute_type_and_topology_of_gcluster(topology, kind):
    assert gke.compute_type(topology) == kind


def test_a_bucket_whose_name_begins_like_another_one_does_not_count():
    with pytest.raises(UserError, match="does not name it"):
        gke.GkeJob("n", "v5e:4x4", "i", "gs://b", ["train", "--config.output=gs://b2/runs"])


def test_the_output_that_a_message_proposes_is_accepted(schedulers, clone, capfd):
    words = TRAIN[:2]
    assert launch("gke", words=words) == 2
    proposed = re.search(r"add (--config\.output=\S+), or", capfd.readouterr().err)[1]
    assert launch("gke", words=[*words, proposed]) == 0


def test_a_secret_reaches_the_command_on_gke_and_is_never_printed(
    schedulers, clone, capfd, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for options in (["--dry_run"], []):
        assert launch("gke", "--env=HF_TOKEN", "--env=NAME=value", *options) == 0
        shown = capfd.readouterr()
        assert SECRET not in shown.out + shown.err
        assert MASKED in shown.out and "NAME=value" in shown.out
    assert "submitting mine" in shown.out, "the output of gcluster is shown, with masks"
    assert schedulers.runs[0][1]["HF_TOKEN"] == SECRET


def test_a_secret_that_is_not_set_here_is_masked_by_its_name(schedulers, clone, capfd):
    schedulers.cue(gcluster=[1])  # the fake then prints its arguments
    assert launch("gke", f"--env=HF_TOKEN={SECRET}", "--env=WANDB_API_KEY=it's a key") == 1
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err and "a key" not in shown.out.splitlines()[0]


def test_skypilot_takes_secrets_from_the_environment(schedulers, clone, capfd, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert launch("skypilot", "--secret=HF_TOKEN") == 0
    assert "--secret=HF_TOKEN" in schedulers.calls[0]
    assert not any(SECRET in word for word in schedulers.calls[0])
    shown = capfd.readouterr().out
    assert SECRET not in shown and "--secret=HF_TOKEN " in shown
    assert [variables["HF_TOKEN"] for _, variables in schedulers.runs] == [SECRET] * 2


def test_a_secret_in_the_reason_of_a_refusal_is_masked(schedulers, clone, capfd, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert launch("slurm", words=[*TRAIN, f"--config.steps={SECRET}"]) == 2
    message = capfd.readouterr().err
    assert "steps" in message and masking.MASK in message and SECRET not in message


@pytest.mark.parametrize("option", [f"--secret=HF_TOKEN={SECRET}", "--secret=NOT_SET_HERE"])
def test_a_secret_is_given_by_name(schedulers, clone, option, capfd):
    assert launch("skypilot", option) == 2
    shown = capfd.readouterr()
    assert "expected the name of a variable that is set here" in shown.err
    assert SECRET not in shown.out + shown.err


def test_the_nodes_of_skypilot_find_each_other(schedulers, clone):
    assert launch("skypilot", "--nodes=3") == 0
    assert [variables for _, variables in schedulers.runs] == [
        {
            "JAX_COORDINATOR_ADDRESS": "10.0.0.1:8482",
            "JAX_NUM_PROCESSES": "3",
            "JAX_PROCESS_ID": str(rank),
        }
        for rank in range(3)
    ]


def test_a_single_node_of_skypilot_is_not_distributed(schedulers, clone):
    assert launch("skypilot", "--nodes=1") == 0
    assert schedulers.runs[0][1] == {}


NODE = {"SKYPILOT_NODE_IPS": "a\nb", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}


@pytest.mark.parametrize(
    "change", [{"SKYPILOT_NODE_RANK": "2"}, {"SKYPILOT_NODE_IPS": "a"}, {"SKYPILOT_NUM_NODES": ""}]
)
def test_variables_of_skypilot_that_do_not_agree_are_refused(change):
    assert skypilot_node.settings_of(NODE)["JAX_PROCESS_ID"] == "1"
    with pytest.raises(UserError, match="one address for each; start this with SkyPilot"):
        skypilot_node.settings_of(NODE | change)


@pytest.mark.parametrize("text", ["", "  ", "train 'open"])
def test_a_skypilot_job_without_a_command_is_refused(text):
    with pytest.raises(UserError, match="TEACHERLM_COMMAND"):
        skypilot_node.words_of({"TEACHERLM_COMMAND": text})


def test_the_yaml_file_of_skypilot_recovers_on_the_statuses_that_skypilot_allows():
    task = yaml.safe_load((ROOT / "launch" / "skypilot.yaml").read_text())
    recovery = task["resources"]["job_recovery"]
    assert recovery["recover_on_exit_codes"] == [code for code in handover.RESTARTED if code != 137]
    assert task["num_nodes"] == 2 and task["workdir"] == "."
    assert task["envs"] == {skypilot_node.COMMAND: None}
    assert subprocess.run(["bash", "-n", "-c", task["setup"] + task["run"]]).returncode == 0
    for file in re.findall(r"requirement (\S+)|constraint (\S+)", task["setup"]):
        assert (ROOT / "".join(file)).exists()


def test_the_batch_script_of_slurm_asks_for_requeueing_and_a_grace_period():
    text = (ROOT / "launch" / "slurm.sbatch").read_text()
    options = re.findall(r"^#SBATCH (\S+)$", text, re.MULTILINE)
    assert {"--requeue", "--signal=TERM@120", "--open-mode=append"} <= set(options)
    codes = re.search(r"^  (\d+(?: \| \d+)+)\)$", text, re.MULTILINE)[1]
    assert tuple(map(int, codes.split(" | "))) == handover.RESTARTED
    tasks = dict(option.split("=") for option in options if "=" in option)
    assert tasks["--ntasks-per-node"] == tasks["--gpus-per-node"], "one process per GPU"
    assert subprocess.run(["bash", "-n", ROOT / "launch" / "slurm.sbatch"]).returncode == 0


def test_slurm_processes_are_connected_by_jax(schedulers, clone):
    assert launch("slurm", "--nodes=4", "--submit_flag=--partition=gpu") == 0
    assert schedulers.calls[0] == [
        *("sbatch", "--nodes=4", "--partition=gpu", "launch/slurm.sbatch", *TRAIN),
    ]
    assert schedulers.programs == ["sbatch", "srun"]
    assert schedulers.runs[0][1]["TEACHERLM_DISTRIBUTED"] == "auto"


def test_the_batch_script_checks_the_command_before_it_starts_the_tasks(schedulers, clone):
    done = subprocess.run(["sbatch", "launch/slurm.sbatch", "train", "no such key"], check=True)
    assert done.returncode == 0
    assert (schedulers.programs, schedulers.status) == (["sbatch"], 2)


def test_a_job_that_cannot_be_requeued_ends_with_the_status_of_the_run(schedulers, clone, capfd):
    schedulers.cue(75, scontrol=[1])
    assert launch("slurm") == 0
    assert (len(schedulers.runs), schedulers.status) == (1, 75)
    assert "cannot requeue; submit it again" in capfd.readouterr().out


def test_the_script_of_a_cancelled_job_waits_for_the_checkpoint_and_does_not_requeue(
    schedulers, clone, monkeypatch
):
    # `scancel` signals the script as well as the tasks.
    srun = schedulers.folder / "bin" / "srun"
    srun.write_text("#!/bin/bash\nkill -TERM $PPID\nsleep 0.5\ntouch saved\nexit 143\n")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    script = ["bash", "launch/slurm.sbatch", *TRAIN]
    assert subprocess.run(script, stdout=subprocess.DEVNULL, check=False).returncode == 143
    assert (clone / "saved").exists()
    assert "scontrol" not in schedulers.programs


def test_a_missing_description_of_a_job_is_refused(schedulers, clone, capfd):
    assert launch("slurm", "--file=mine.sbatch") == 2
    assert "mine.sbatch: no such file; run this in a clone" in capfd.readouterr().err
    shutil.copy("launch/slurm.sbatch", "mine.sbatch")
    assert launch("slurm", "--file=mine.sbatch") == 0


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("HF_TOKEN=x", "HF_TOKEN=***"),
        ("--config.api_key=x", "--config.api_key=***"),
        ("AWS_SECRET_ACCESS_KEY=x", "AWS_SECRET_ACCESS_KEY=***"),
        ("PGPASSWORD=x", "PGPASSWORD=***"),
        ("--config.endpoint.key_variable=OPENAI_API_KEY", None),
        ("--config.columns.key=id", None),
        ("HF_TOKEN=", None),
        ("--secret=HF_TOKEN", None),
        ("--secret=NAME=x", "--secret=NAME=***"),
        (
            "--command=export HF_TOKEN=x && env A=b run",
            "--command=export HF_TOKEN=*** && env A=b run",
        ),
        ("--export=ALL,HF_TOKEN=x,A=b", "--export=ALL,HF_TOKEN=***,A=b"),
        ("HF_TOKEN", None),
        (f"https://user:{SECRET}@host", "https://user:***@host"),
    ],
)
def test_secrets_are_masked_by_name_and_by_value(word, shown):
    assert masking.masked([word], {"HF_TOKEN": SECRET, "A_KEY": "true"}) == [shown or word]
