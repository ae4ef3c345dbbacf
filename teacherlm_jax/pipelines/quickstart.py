"""The quickstart: a pipeline of verbs on generated samples, each a process with its run folder."""

from typing import Any

from teacherlm_jax.config import PipelineOptions, QuickstartConfig
from teacherlm_jax.data import synthetic
from teacherlm_jax.pipelines import pipeline, runner
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.wording import counted

_ENVIRONMENT = {"JAX_PLATFORMS": "cpu"}


def quickstart(
    config: QuickstartConfig, run: Run, options: PipelineOptions
) -> dict[str, Any] | None:
    """Generate the samples and run every step that has no result yet; the last one is the report.

    Returns the seconds of each step of this call and the result of the report; None if
    the options select other steps than all. Raises UserError if a step fails; a
    later call resumes from that step.
    """
    _generate(config, run)
    run.publish()
    seconds = runner.run_steps(steps_of(config), run, options)
    if seconds is None:
        return None
    report = files.read_json(StoragePath(config.report) / layout.RESULT)
    return {"seconds": seconds, "report": report}


def steps_of(config: QuickstartConfig) -> list[Step]:
    """Return the steps of a quickstart, on the CPU unless a variable of the user says otherwise."""
    return pipeline.steps_of(config, _ENVIRONMENT)


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
        rows = synthetic.write(path, count, config.seed, split=split)
        run.log.info("%s: %s", path, counted(len(rows), "generated sample"))
