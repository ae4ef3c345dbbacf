"""The quickstart: a pipeline of verbs on generated samples, each a process with its run folder."""

import os
import shlex
import subprocess
import sys
import time
from typing import Any

from teacherlm_jax.config import QuickstartConfig, StepConfig
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.runs.stop_signals import handling
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


def quickstart(config: QuickstartConfig, run: Run) -> dict[str, Any]:
    """Generate the samples, run every step that has no result yet, and print the report.

    Returns the seconds of each step of this call and the result of the report. Raises UserError if
    a step fails; a later call resumes from that step.
    """
    _generate(config, run)
    run.publish()
    seconds = {}
    for number, step in enumerate(config.steps, start=1):
        run.log.info("")
        run.log.info("== %d/%d  %s", number, len(config.steps), step.title)
        started = time.monotonic()
        _run_step(config, step, run)
        seconds[step.title] = round(time.monotonic() - started, 1)
    report = files.read_json(StoragePath(config.report) / layout.RESULT)
    run.log.info("")
    run.log.info("== done in %.0f s", sum(seconds.values()))
    run.log.info(
        "%s", (StoragePath(config.report) / layout.REPORT_TEXT).read_text(encoding="utf-8")
    )
    return {"seconds": seconds, "report": report}


def _generate(config: QuickstartConfig, run: Run) -> None:
    """Write the three splits; only the training split has explanations."""
    counts = {
        "train": config.train_samples,
        "unlabelled": config.unlabelled_samples,
        "test": config.test_samples,
    }
    for split, count in counts.items():
        path = run.path / "samples" / f"{split}.jsonl"
        if path.exists():
            continue
        rows = [to_row(sample) for sample in synthetic.generate(count, config.seed, split=split)]
        if split != "train":
            rows = [{**row, "explanations": {}} for row in rows]
        files.write_jsonl(path, rows)
        run.log.info("%s: %d generated samples", path, len(rows))


def _run_step(config: QuickstartConfig, step: StepConfig, run: Run) -> None:
    if (StoragePath(step.output) / layout.RESULT).exists() and step.output != config.report:
        run.log.info("%s: finished before", step.output)
        return
    words = [step.verb, f"--config={config.file}:{step.variant}"]
    run.log.info("$ teacherlm %s", shlex.join(words))
    # In its own session, so that Ctrl-C reaches the step only once, through `_wait_for`.
    process = subprocess.Popen(
        [sys.executable, "-m", "teacherlm_jax", *words],
        env=_environment(run),
        start_new_session=True,
    )
    status = _wait_for(process)
    if status < 0 or status > 128:  # ended by a signal, or after handling one
        raise Interrupted(
            f"stopped in step {step.title!r}; repeat the command to resume",
            status=128 - status if status < 0 else status,
        )
    if status != 0:
        raise UserError(
            f"step {step.title!r} failed with status {status}; see its message above, correct "
            "the cause, and repeat the command: finished steps are not repeated"
        )


def _wait_for(step: subprocess.Popen[bytes]) -> int:
    """Return the exit status of a step; forward the signals that stop a command to it."""

    def forward(number: int, frame: Any) -> None:
        step.send_signal(number)

    with handling(forward):
        return step.wait()


def _environment(run: Run) -> dict[str, str]:
    """Return the environment of the steps: CPU, a shared compilation cache, and huge pages.

    Programs of the same shapes compile once. Huge pages save about a fifth of the CPU time, which
    page faults take for arrays of this size; only glibc reads the setting.
    """
    return {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str((run.path / ".compiled").absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        **os.environ,
    }
