import os
import signal
import subprocess
import sys
import threading

import pytest

from teacherlm_jax.config import PipelineOptions, QuickstartConfig, StepConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines import quickstart, runner
from teacherlm_jax.runs import run_folder

EXITS_ON_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit(7)))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_signal_is_forwarded_to_the_step_which_has_time_to_save():
    words = [sys.executable, "-c", EXITS_ON_SIGTERM]
    before = signal.getsignal(signal.SIGTERM)
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as step:
        assert step.stdout.readline() == b"ready\n"
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert runner._wait_for(step) == 7
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_failed_step_is_named_and_earlier_files_are_kept(tmp_path):
    root = tmp_path / "runs"
    config = QuickstartConfig(
        output=str(root),
        file=str(tmp_path / "absent.py"),
        steps=(StepConfig("to prepare", "prepare", "data", f"{root}/data"),),
        report=f"{root}/report",
        train_samples=9,
        unlabelled_samples=9,
        test_samples=9,
    )
    with (
        run_folder.open_run(config.output, "quickstart", config) as folder,
        pytest.raises(UserError, match="step 'to prepare' failed with status 2"),
    ):
        quickstart.quickstart(config, folder, PipelineOptions())
    for split in ("train", "unlabelled", "test"):
        assert len((root / f"samples/{split}.jsonl").read_text().splitlines()) == 9
