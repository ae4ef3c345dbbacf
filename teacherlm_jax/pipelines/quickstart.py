"""The quickstart: a pipeline of verbs on generated samples, each a process with its run folder."""

import functools
from typing import Any

from teacherlm_jax.config import PipelineOptions, QuickstartConfig, StepConfig
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.pipelines import runner
from teacherlm_jax.pipelines.runner import Step
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

_ENVIRONMENT = {"JAX_PLATFORMS": "cpu"}


def quickstart(
    config: QuickstartConfig, run: Run, options: PipelineOptions
) -> dict[str, Any] | None:
    """Generate the samples, run every step that has no result yet, and print the report.

    Returns the seconds of each step of this call and the result of the report; None if
    `options.until` ends the pipeline before its last step. Raises UserError if a step fails; a
    later call resumes from that step.
    """
    _generate(config, run)
    run.publish()
    steps = steps_of(config)
    seconds = runner.run_steps(steps, run, options.until)
    if len(seconds) < len(steps):
        return None
    report = files.read_json(StoragePath(config.report) / layout.RESULT)
    run.log.info("")
    run.log.info("== done in %.0f s", sum(seconds.values()))
    run.log.info(
        "%s", (StoragePath(config.report) / layout.REPORT_TEXT).read_text(encoding="utf-8")
    )
    return {"seconds": seconds, "report": report}


def steps_of(config: QuickstartConfig) -> list[Step]:
    """Return the steps of a quickstart, named by their variants."""
    return [
        Step(
            name=step.variant.partition(",")[0],
            title=step.title,
            output=StoragePath(step.output) / layout.RESULT,
            work=functools.partial(_run_step, config, step),
            repeats=step.output == config.report,
        )
        for step in config.steps
    ]


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
    words = [step.verb, f"--config={config.file}:{step.variant}"]
    runner.run_command(words, step.title, run, _ENVIRONMENT)
