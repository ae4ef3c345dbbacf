"""Fakes of gcluster, sky, sbatch, srun and scontrol, one file that is installed under each name.

TEACHERLM_FAKE names a folder. `calls.jsonl` in it receives the arguments of every call, with the
program's name first. `cues.json` may hold the exit statuses of each program in order (then 0). The
fakes treat a command as the programs do that they stand for:

- gcluster accepts the flags of Cluster Toolkit v1.95.0 only, and starts `--command` with bash in a
  pod, after Kubernetes has replaced `$$` by `$`. It restarts the pod on the listed exit codes, and
  fails the job at once on others.
- sky reads the YAML file, replaces its environment, and runs `run` on each node in turn. It
  restarts the job on the listed exit codes.
- sbatch runs the script with its arguments, once more for each `scontrol requeue`.
- srun runs the words in one process per task of the first node.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys

import yaml

folder = pathlib.Path(os.environ["TEACHERLM_FAKE"])
program = pathlib.Path(sys.argv[0]).name
words = sys.argv[1:]

with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([program, *words]) + "\n")

GCLUSTER = (
    *("image", "base-image", "build-context", "command", "compute-type", "dry-run-out", "platform"),
    *("mount", "name", "queue", "num-nodes", "num-slices", "restarts", "gke-ttl-after-finished"),
    *("grace-period", "gke-disable-parallel-containers", "placement-policy", "node-constraint"),
    *("cpu-affinity", "restart-on-exit-codes", "image-pull-secret", "service-account", "topology"),
    *("gke-scheduler", "await-job-completion", "timeout", "priority", "pathways", "verbose"),
    *("gke-nap-provisioning", "gke-nap-reservation", "cluster", "location", "project"),
)
SKY = {"yes", "detach-run", "num-nodes", "secret", "env", "gpus", "infra", "use-spot", "name"}


def cue():
    """Return the next exit status of this program."""
    path = folder / "cues.json"
    cues = json.loads(path.read_text()) if path.exists() else {}
    status = cues[program].pop(0) if cues.get(program) else 0
    path.write_text(json.dumps(cues))
    return status


def flags(known, given):
    """Return the values of flags by name; exit like a parser of flags if one is unknown."""
    found = {}
    for word in given:
        name, _, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in known:
            sys.exit(f"Error: unknown flag: {word}")
        found.setdefault(name, []).append(value)
    return found


def status_of(command, **variables):
    """Run a command; return its exit status, which is 128 plus the number of a signal."""
    status = subprocess.run(command, env={**os.environ, **variables}).returncode
    return 128 - status if status < 0 else status


def gcluster():
    if words[:2] != ["job", "submit"]:
        sys.exit("Error: unknown command")
    found = {name: values[-1] for name, values in flags(GCLUSTER, words[2:]).items()}
    print(f"submitting {found['name']}: {found['command']}")
    codes = [int(code) for code in found["restart-on-exit-codes"].split(",")]
    line = found["command"].replace("$$", "$")
    for _ in range(int(found["restarts"]) + 1):
        status = status_of(["/bin/bash", "-c", line])
        if status not in codes:
            break
    (folder / "status").write_text(str(status))


def sky():
    if words[:2] != ["jobs", "launch"]:
        sys.exit("Error: unknown command")
    found = flags(SKY, words[2:-1])
    task = yaml.safe_load(pathlib.Path(words[-1]).read_text())
    given = dict(value.split("=", 1) for value in found.get("env", ()))
    secrets = {name: os.environ[name] for name in found.get("secret", ())}
    variables = {**task["envs"], **given}
    if None in variables.values():
        sys.exit("Error: environment variables without a value")
    count = int(found.get("num-nodes", [task["num_nodes"]])[-1])
    addresses = "\n".join(f"10.0.0.{index + 1}" for index in range(count))
    lines = task["run"] + "\nexit_code=$?\nexit $exit_code\n"  # SkyPilot adds lines, too
    for _ in range(5):
        statuses = [
            status_of(
                ["/bin/bash", "-c", lines],
                **variables,
                **secrets,
                SKYPILOT_NODE_IPS=addresses,
                SKYPILOT_NUM_NODES=str(count),
                SKYPILOT_NODE_RANK=str(rank),
            )
            for rank in range(count)
        ]
        codes = task["resources"]["job_recovery"]["recover_on_exit_codes"]
        if not set(statuses) & set(codes):
            break
    (folder / "status").write_text(str(max(statuses)))


def sbatch():
    split = next(index for index, word in enumerate(words) if not word.startswith("--"))
    script, arguments = words[split], words[split + 1 :]
    options = [
        line.split()[1] for line in pathlib.Path(script).read_text().splitlines()
        if line.startswith("#SBATCH ")
    ]  # fmt: skip
    settings = dict(option.removeprefix("--").partition("=")[::2] for option in options)
    settings |= dict(option.removeprefix("--").partition("=")[::2] for option in words[:split])
    count = int(settings["nodes"]) * int(settings["ntasks-per-node"])
    print("Submitted batch job 7")
    for start in range(40):
        (folder / "requeued").unlink(missing_ok=True)
        batch = {
            "SLURM_JOB_ID": "7",
            "SLURM_NTASKS": str(count),
            "SLURM_JOB_NUM_NODES": settings["nodes"],
            "SLURM_PROCID": "0",
            "SLURM_RESTART_COUNT": str(start),
        }
        status = status_of(["/bin/bash", script, *arguments], **batch)
        if not (folder / "requeued").exists():
            break
    (folder / "status").write_text(str(status))


def srun():
    command = words[1:] if words[0].startswith("--kill-on-bad-exit") else words
    task = {"SLURM_STEP_NUM_TASKS": os.environ["SLURM_NTASKS"], "SLURM_LOCALID": "0"}
    sys.exit(status_of(command, **task))


def scontrol():
    if words != ["requeue", os.environ["SLURM_JOB_ID"]]:
        sys.exit("invalid")
    (folder / "requeued").touch()


if status := cue():
    print(f"{program}: refused: {shlex.join(words)}", file=sys.stderr)
    sys.exit(status)
{"gcluster": gcluster, "sky": sky, "sbatch": sbatch, "srun": srun, "scontrol": scontrol}[program]()
