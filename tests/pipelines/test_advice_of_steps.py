"""Advice in error messages about the quickstart's steps, which works when it is followed."""

import pytest

from teacherlm_jax.config import PipelineOptions, QuickstartConfig, StepConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines import quickstart, step_process
from teacherlm_jax.runs import run_folder

# Stands for the command of a verb: it fails as long as a file is missing.
COMMAND = """
import pathlib, sys
folder = pathlib.Path({folder!r})
output = folder / "runs" / sys.argv[-1].rpartition(":")[2]
if output.name == "report" and not (folder / "cause-corrected").exists():
    sys.exit(2)
output.mkdir(parents=True)
with open(folder / "calls", "a") as file:
    file.write(output.name + "\\n")
(output / "result.json").write_text("{{}}")
"""


def test_the_pipeline_ends_after_the_cause_is_corrected_and_the_command_repeated(
    tmp_path, monkeypatch
):
    root = tmp_path / "runs"
    program = tmp_path / "program"
    program.write_text(COMMAND.format(folder=str(tmp_path)))
    popen = step_process.subprocess.Popen
    monkeypatch.setattr(
        step_process.subprocess,
        "Popen",
        lambda words, **settings: popen([words[0], str(program), *words[3:]], **settings),
    )

    def step(verb, name):
        return StepConfig(
            name=name, title=name, verb=verb, config=f"mine.py:{name}", output=f"{root}/{name}"
        )

    config = QuickstartConfig(
        output=str(root),
        steps=(step("prepare", "data"), step("report", "report")),
        report=f"{root}/report",
        train_samples=9,
        unlabelled_samples=9,
        test_samples=9,
    )

    def repeat():
        with run_folder.open_run(config.output, "quickstart", config) as folder:
            return quickstart.quickstart(config, folder, PipelineOptions())

    with pytest.raises(UserError) as raised:
        repeat()
    assert str(raised.value).endswith(
        "correct the cause, and repeat the command: finished steps are not repeated"
    )
    (tmp_path / "cause-corrected").touch()
    assert repeat()["report"] == {}
    assert (tmp_path / "calls").read_text() == "data\nreport\n"
