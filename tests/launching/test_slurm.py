"""Jobs of Slurm: the batch script, its requeueing, and its signals."""

import re
import shutil
import subprocess

from teacherlm_jax.launching import handover

from .fake_schedulers import ROOT, TRAIN, launch


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
