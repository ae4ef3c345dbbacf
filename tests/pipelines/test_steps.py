import io
import os
import signal
import sys
import threading

import pytest

from teacherlm_jax.config import PipelineOptions, QuickstartConfig, StepConfig
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.pipelines import quickstart, runner, step_process
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.runs import run_folder
from teacherlm_jax.storage.paths import StoragePath

EXITS_ON_SIGTERM = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit(143)))
pathlib.Path(sys.argv[-1]).touch()
time.sleep(60)
"""


def test_a_signal_is_forwarded_to_all_steps_which_have_time_to_save(tmp_path, monkeypatch):
    ready = [tmp_path / name for name in "ab"]
    steps = [
        Step(
            name=path.name,
            title=path.name,
            output=StoragePath(tmp_path / f"{path.name}.out"),
            words=lambda run, path=path: [str(path)],
        )
        for path in ready
    ]

    def stop():
        while not all(path.exists() for path in ready):
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    config = QuickstartConfig(output=str(tmp_path / "runs"))
    with run_folder.open_run(config.output, "quickstart", config) as folder:
        popen = step_process.subprocess.Popen
        monkeypatch.setattr(
            step_process.subprocess,
            "Popen",
            lambda words, **settings: popen(
                [sys.executable, "-c", EXITS_ON_SIGTERM, *words[3:]], **settings
            ),
        )
        threading.Thread(target=stop).start()
        with pytest.raises(Interrupted, match="stopped in steps 'a', 'b'; repeat") as raised:
            runner.run_steps(steps, folder, PipelineOptions(processes=2))
    assert raised.value.status == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_failed_step_is_named_and_earlier_files_are_kept(tmp_path):
    root = tmp_path / "runs"
    config = QuickstartConfig(
        output=str(root),
        steps=(
            StepConfig(
                name="data",
                title="to prepare",
                verb="prepare",
                config=f"{tmp_path}/absent.py:data",
                output=f"{root}/data",
            ),
        ),
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


def test_a_progress_bar_of_a_step_is_shown_in_its_last_state(capsys):
    step_process._show("a", io.BytesIO(b"\rmodel: 10%\rmodel: 100%\ndone\r\n"))
    assert capsys.readouterr().out == "[a] model: 100%\n[a] done\n"
