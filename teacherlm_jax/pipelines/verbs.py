"""Verbs of the command line and of Python, and the function that runs one in its run folder."""

import dataclasses
import importlib
import operator
from collections.abc import Callable, Mapping
from typing import Any

from teacherlm_jax import config
from teacherlm_jax.config import paper_models, train_config
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines import runner, step_graph, step_graph_svg
from teacherlm_jax.pipelines.step_records import StepRecords
from teacherlm_jax.runs import run_folder
from teacherlm_jax.runs.imports import without_collection
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class Verb:
    """One verb of the command.

    Attributes:
        summary: its line in the help.
        example: command lines at the end of its help.
        config_classes: config classes that the verb accepts.
        function: `module:function`, imported only when the verb runs, so that preparing data never
            loads JAX and training never loads TensorFlow.
        may_change: keys that may change when an interrupted or finished run is continued.
        extended_keys: `module:function` that returns the keys by which a config extends the run of
            another config, given that config as a dict and the new one; empty: no run is extended.
        inputs: `module:function` that returns the digests of a config's inputs by key; empty for
            verbs that compare their inputs themselves.
        local: `module:function` that returns the config with folders in place of addresses, which
            are downloaded; the recorded config keeps the addresses. Empty if the verb downloads.
        repeats: the verb runs again even if the run folder holds a result.
        positional: names in the help, by key, of values without a key. Such a verb
            opens its output itself, which need not be a run folder.
        needs_file: whether the verb needs a config file.
        folder: function that returns the run folder of a config.
        options: dataclasses of further options, each given by its name alone. The function gets
            them as its last arguments; they are not part of the run's config.
        memory_keys: config keys that reduce the memory that the verb needs, for its error message.
        steps: `module:function` that returns the steps of a config, for a pipeline; empty for other
            verbs.
        overview: `module:function` that returns a text that needs no config, given the options of
            the verb; see `PlanOptions.without_config`. Empty: the verb always needs a config.
        dry_run: `module:function` that returns a text about the run of a config, given that config,
            `config.DryRunOptions` and, for a pipeline, the configs of its steps; it writes nothing.
            Empty: the verb has no such options.
        together: several processes can run the verb as one; see `distributed`.
        shared: several processes can work in one run folder, each by itself.
    """

    summary: str
    example: str
    config_classes: tuple[type, ...]
    function: str
    may_change: tuple[str, ...] = ()
    extended_keys: str = ""
    inputs: str = ""
    local: str = ""
    repeats: bool = False
    positional: Mapping[str, str] = dataclasses.field(default_factory=dict)
    needs_file: bool = True
    folder: Callable[[Any], str] = operator.attrgetter("output")
    options: tuple[type, ...] = ()
    steps: str = ""
    overview: str = ""
    dry_run: str = ""
    memory_keys: str = "the size of the model or of the data"
    together: bool = False
    shared: bool = False

    def usage(self, name: str) -> str:
        """Return the usage line of this verb under its name."""
        needed = self.needs_file and not self.positional
        config = "--config=FILE.py[:VARIANT]" if needed else "[--config=FILE.py[:VARIANT]]"
        words = " ".join((*self.positional.values(), config))
        return f"teacherlm {name} {words} [--config.KEY=VALUE ...]"


VERBS = {
    "prepare": Verb(
        "tokenize datasets into packed rows on disk",
        "teacherlm prepare --config=configs/quickstart.py:teacher_data --check_only",
        (config.PrepareConfig,),
        "teacherlm_jax.tasks.prepare:prepare",
        may_change=("check_only", "evaluation", "runner", "beam_options"),
        local="teacherlm_jax.hf.hub:with_local_vocabulary",  # `tasks` cannot import `hf`
        memory_keys="config.length or the size of the data",
        repeats=True,  # it compares its output with the sources as they are now
    ),
    "train": Verb(
        "train a stage of a teacher, or a student",
        "teacherlm train --config=configs/quickstart.py:stage2 --config.output=runs/other",
        (config.TrainConfig,),
        "teacherlm_jax.training.loop:train",
        may_change=(*train_config.CHANGEABLE, paper_models.KEY),
        extended_keys="teacherlm_jax.training.extension:extended_keys",
        inputs="teacherlm_jax.training.run_inputs:inputs",
        memory_keys="config.batch_size or config.loss_block, raise config.accumulate, set "
        "config.model.remat='full', in a validation lower config.validation.batch_tokens",
        together=True,
    ),
    "annotate": Verb(
        "generate explanations for every row of a dataset with trained teachers",
        "teacherlm annotate --config=configs/quickstart.py:annotate",
        (config.AnnotateConfig,),
        "teacherlm_jax.annotation.job.job:annotate",
        dry_run="teacherlm_jax.planning.dry_run:dry_run",
        may_change=(
            *("mesh", "slots", "attention", "prompt_length", "runner", "beam_options"),
            *(f"endpoint.{key}" for key in ("key_variable", "concurrency", "timeout", "retries")),
            *("endpoint.requests_per_minute", "endpoint.tokens_per_minute", "endpoint.max_cost"),
            *("endpoint.prompt_price", "endpoint.completion_price", paper_models.KEY),
        ),
        memory_keys="config.slots, config.prompt_length or config.sampling.max_new_tokens",
        repeats=True,  # it compares its output with the source as it is now
        together=True,
        shared=True,
    ),
    "star": Verb(
        "turn questions with answers into explained samples, in rounds (STaR)",
        "teacherlm star --config=configs/star.py",
        (config.StarConfig,),
        "teacherlm_jax.pipelines.star:star",
        may_change=("rounds", "mesh", "slots"),
        inputs="teacherlm_jax.pipelines.star_inputs:inputs",
        repeats=True,
        options=(config.PipelineOptions,),
        steps="teacherlm_jax.pipelines.star:steps_of",
    ),
    "evaluate": Verb(
        "evaluate a model on multiple-choice benchmarks by rank classification",
        "teacherlm evaluate --config=configs/quickstart.py:evaluate_stage2",
        (config.EvaluateConfig,),
        "teacherlm_jax.evaluation.evaluate:evaluate",
        may_change=("mesh", "batch_tokens", "attention", "track", "tracking", paper_models.KEY),
        inputs="teacherlm_jax.evaluation.evaluate:inputs",
        memory_keys="config.batch_tokens or config.max_length",
        together=True,
    ),
    "convert": Verb(
        "convert a checkpoint from or to the Hugging Face format, or explained data to a dataset",
        "teacherlm convert runs/student models/student  # export to Hugging Face\n"
        "teacherlm convert hf://bigscience/bloomz-560m runs/bloomz-560m  # import\n"
        "teacherlm convert runs/annotate_mine data/explained  # write a dataset",
        (config.ConvertConfig,),
        "teacherlm_jax.hf.convert:convert",
        positional={"source": "SRC", "output": "DST"},
    ),
    "plan": Verb(
        "estimate memory use and speed of `train` or `annotate` on a TPU slice or GPUs, without "
        "having them",
        "teacherlm plan --config=configs/teacher.py:7b1/stage2 --topology=v5e:8x8\n"
        "teacherlm plan --config=configs/teacher.py:560m/stage2,attention=blockwise "
        "--topology=gpu:a100\n"
        "teacherlm plan --fits --topology=gpu:4090  # which models fit on this GPU",
        (config.TrainConfig, config.AnnotateConfig),
        "teacherlm_jax.planning.plan:plan",
        may_change=("",),  # every plan starts over
        folder=lambda settings: f"{settings.output}.plan",
        options=(config.PlanOptions,),
        overview="teacherlm_jax.planning.fitting_models:overview",
    ),
    "report": Verb(
        "write tables and figures of runs, data or ratings, or a page to read explanations",
        "teacherlm report --config.root=runs --config.output=runs/report",
        (config.ReportConfig,),
        "teacherlm_jax.report.build:report",
        may_change=("ratings",),
        repeats=True,
        needs_file=False,
        folder=operator.attrgetter("folder"),
    ),
    "pipeline": Verb(
        "run several commands in sequence, such as all of the paper's experiment",
        "teacherlm pipeline --config=configs/paper.py:7b1 --dry_run\n"
        "teacherlm pipeline --config=configs/paper.py:tiny --processes=2",
        (config.PipelineConfig,),
        "teacherlm_jax.pipelines.pipeline:pipeline",
        may_change=("steps",),  # the commands compare their own settings
        repeats=True,
        options=(config.PipelineOptions,),
        steps="teacherlm_jax.pipelines.pipeline:steps_of",
        dry_run="teacherlm_jax.planning.pipeline_plan:dry_run",
    ),
    "quickstart": Verb(
        "run all steps on generated data with toy-sized models",
        "teacherlm quickstart --config=configs/quickstart.py",
        (config.QuickstartConfig,),
        "teacherlm_jax.pipelines.quickstart:quickstart",
        may_change=("steps",),
        repeats=True,
        options=(config.PipelineOptions,),
        steps="teacherlm_jax.pipelines.quickstart:steps_of",
        dry_run="teacherlm_jax.planning.pipeline_plan:dry_run",
    ),
}


def run(name: str, settings: Any, *options: Any) -> dict[str, Any] | None:
    """Run a verb in the run folder of its config; return its result.

    A run that finished before is not repeated, unless the config extends it or the verb compares
    its output with its inputs itself.

    Args:
        name: a key of VERBS.
        settings: the verb's config, checked.
        options: one instance of each of the verb's options.

    Raises:
        UserError: the config, an input or the run folder cannot be used, or inputs have changed
            since the run was started.
        Interrupted: a signal asked the run to stop.
    """
    verb = VERBS[name]
    if verb.positional:
        return _load(verb.function)(settings)
    folder = verb.folder(settings)
    extended_keys = _load(verb.extended_keys) if verb.extended_keys else run_folder.no_extension
    with run_folder.open_run(
        *(folder, name, settings),
        may_change=verb.may_change,
        extended_keys=extended_keys,
        shared=verb.shared,
    ) as opened:
        if opened.result is not None and not verb.repeats and not opened.extends:
            _say_finished(opened, verb, settings)
            return opened.result
        if verb.inputs:
            opened.check_inputs(_digests(verb, settings))
        if opened.extends:
            opened.begin_extension()
        local = _load(verb.local)(settings) if verb.local else settings
        result = _load(verb.function)(local, opened, *options)
        if result is not None:
            opened.finish(result)
        return result


def dry_run(name: str, settings: Any, *options: Any) -> str:
    """Return a text about what `run` would do with a config; write nothing.

    `options` are `config.DryRunOptions` and, for a pipeline, the configs of its steps, by name.
    Raises UserError where `run` would, as far as that is known before its work begins.
    """
    verb = VERBS[name]
    run_folder.require_same_settings(
        verb.folder(settings), name, settings, may_change=verb.may_change
    )
    return _load(verb.dry_run)(settings, *options)


def overview(name: str, *options: Any) -> str:
    """Return the text of a verb that needs no config with these options."""
    return _load(VERBS[name].overview)(*options)


def status(name: str, settings: Any) -> str:
    """Return the steps of a pipeline's config as text, and which of them are finished."""
    records = StepRecords(StoragePath(VERBS[name].folder(settings)))
    return runner.status(_load(VERBS[name].steps)(settings), records)


def graph(name: str, settings: Any, target: str) -> str:
    """Return the graph of a pipeline's config as text, or write it to an SVG file `target`.

    Returns a line that names the file in that case.
    """
    steps = _load(VERBS[name].steps)(settings)
    records = StepRecords(StoragePath(VERBS[name].folder(settings)))
    nodes = step_graph.nodes(steps, records)
    if target == "text":
        return step_graph.text(nodes)
    files.write_text(target, step_graph_svg.svg(nodes))
    return f"{target}: {counted(len(steps), 'step')}"


def _digests(verb: Verb, settings: Any) -> dict[str, str]:
    # In every process: opening a checkpoint waits for all of them.
    return _load(verb.inputs)(settings)


def _say_finished(opened: Run, verb: Verb, settings: Any) -> None:
    """Log that a run finished before; raise UserError if its inputs have changed since."""
    compared = ""
    if verb.inputs:
        try:
            digests = _digests(verb, settings)
        except UserError as error:  # such as data that was removed after training
            compared = f" (its inputs cannot be compared: {error})"
        else:
            opened.check_inputs(digests)
    unused = f"; {', '.join(opened.changes)} has no effect" if opened.changes else ""
    opened.log.info(
        "%s: finished before%s%s; remove the folder to run it again",
        *(opened.path, compared, unused),
    )


def _load(function: str) -> Callable[..., Any]:
    module, _, attribute = function.partition(":")
    with without_collection():
        return getattr(importlib.import_module(module), attribute)
