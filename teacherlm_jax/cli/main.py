"""The command `teacherlm VERB --config=FILE.py[:variant] --config.key=value …`."""

import dataclasses
import difflib
import functools
import importlib
import operator
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teacherlm_jax import __version__, config
from teacherlm_jax.cli import failures, flags, help_text, sweep
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import distributed, run_folder

USER_ERROR = 2
VALIDATE = "--validate"  # check verb, config and keys, and do nothing else


@dataclasses.dataclass(frozen=True)
class Verb:
    """One verb of the command.

    Attributes:
        summary: its line in the help.
        config_classes: config classes that the verb accepts.
        function: `module:function`, imported only when the verb runs, so that preparing data never
            loads JAX and training never loads TensorFlow.
        may_change: keys that may change when an interrupted or finished run is continued.
        repeats: the verb runs again even if the run folder holds a result.
        positional: names in the help, by key, of values that are given without a key. Such a verb
            opens its output itself, which need not be a run folder.
        needs_file: whether the verb needs a config file.
        folder: function that returns the run folder of a config.
        options: dataclasses of further options, each given by its name alone. The function gets
            them as its last arguments; they are not part of the run's config.
        together: several processes can run the verb as one; see `distributed`.
    """

    summary: str
    config_classes: tuple[type, ...]
    function: str
    may_change: tuple[str, ...] = ()
    repeats: bool = False
    positional: Mapping[str, str] = dataclasses.field(default_factory=dict)
    needs_file: bool = True
    folder: Callable[[Any], str] = operator.attrgetter("output")
    options: tuple[type, ...] = ()
    together: bool = False

    def usage(self, name: str) -> str:
        """Return the form of a command line with this verb, which has the given name."""
        config = "--config=FILE.py[:VARIANT]" if self.needs_file else "[--config=FILE.py[:VARIANT]]"
        first = " ".join(self.positional.values()) or config
        return f"teacherlm {name} {first} [--config.KEY=VALUE ...]"


VERBS = {
    "prepare": Verb(
        "tokenize and pack data sets into rows on disk",
        (config.PrepareConfig,),
        "teacherlm_jax.tasks.prepare:prepare",
        may_change=("check_only", "evaluation", "runner", "beam_options"),
        repeats=True,  # it compares its output with the sources as they are now
    ),
    "train": Verb(
        "train a stage of a teacher, or a student",
        (config.TrainConfig,),
        "teacherlm_jax.training.loop:train",
        may_change=(
            *("mesh", "checkpoint", "log_every", "verify_data", "profile", "compilation_cache"),
        ),
        together=True,
    ),
    "annotate": Verb(
        "let teachers write explanations for every row of a data set",
        (config.AnnotateConfig,),
        "teacherlm_jax.annotation.job:annotate",
        may_change=("mesh", "slots", "attention", "prompt_length"),
        repeats=True,  # it compares its output with the source as it is now
    ),
    "evaluate": Verb(
        "measure a model on benchmarks by rank classification",
        (config.EvaluateConfig,),
        "teacherlm_jax.evaluation.evaluate:evaluate",
        may_change=("mesh", "batch_tokens", "attention"),
        together=True,
    ),
    "convert": Verb(
        "convert a Hugging Face checkpoint to ours, or back",
        (config.ConvertConfig,),
        "teacherlm_jax.hf.convert:convert",
        positional={"source": "SRC", "output": "DST"},
    ),
    "plan": Verb(
        "compile a config for a TPU slice you need not own: memory, time, fit",
        (config.TrainConfig, config.AnnotateConfig),
        "teacherlm_jax.planning.plan:plan",
        may_change=("",),  # every plan starts over
        folder=lambda settings: f"{settings.output}.plan",
        options=(config.PlanOptions,),
    ),
    "report": Verb(
        "write tables and figures of finished runs, or of a data set (--data=DIR)",
        (config.ReportConfig,),
        "teacherlm_jax.report.build:report",
        repeats=True,
        needs_file=False,
        folder=operator.attrgetter("folder"),
    ),
    "quickstart": Verb(
        "run the whole flow at toy size on generated data",
        (config.QuickstartConfig,),
        "teacherlm_jax.pipelines.quickstart:quickstart",
        repeats=True,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status (0 done, 2 invalid input, over 128 interrupted)."""
    failures.allow_any_text(sys.stdout)
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # such as `teacherlm train --help | head`
        return failures.silence(sys.stdout)
    except UserError as error:
        print(f"teacherlm: {error}", file=sys.stderr)
        return USER_ERROR
    except Interrupted as error:
        print(f"teacherlm: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("teacherlm: interrupted; repeat the command to resume", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        message = failures.of_the_machine(error)
        if message is None:
            raise
        print(f"teacherlm: {message}", file=sys.stderr)
        return USER_ERROR


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_help())
        return 0
    name, *rest = arguments
    if name == "--version":
        print(f"teacherlm {__version__}")
        return 0
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"unknown verb {name!r}; known: {', '.join(VERBS)}{hint}")
    verb = VERBS[name]
    if "--help" in rest or "-h" in rest:
        options = (*verb.options, config.SweepOptions)
        print(help_text.verb_help(verb.usage(name), verb.summary, verb.config_classes, options))
        return 0
    return _run(name, verb, rest)


def _run(name: str, verb: Verb, arguments: Sequence[str]) -> int:
    words = [word for word in arguments if word != VALIDATE]
    command = flags.load(words, verb.config_classes, verb.positional, verb.needs_file, verb.options)
    if len(words) < len(arguments):
        distributed.require_able(name, verb.together)
        print(f"teacherlm {name}: the command line is valid")
        return 0
    settings, asked = command.config, command.options[config.SweepOptions]
    if asked.sweep_list or asked.sweep_results:
        table = sweep.listing if asked.sweep_list else functools.partial(sweep.results, settings)
        print(table(command.points))
        return 0
    distributed.start(name, verb.together)
    if verb.positional:
        _load(verb.function)(settings)
        return 0
    path = verb.folder(settings)
    with run_folder.open_run(path, name, settings, may_change=verb.may_change) as folder:
        if folder.result is not None and not verb.repeats:
            folder.log.info("%s: finished before; remove the folder to run it again", folder.path)
        else:
            options = [command.options[kind] for kind in verb.options]
            result = _load(verb.function)(settings, folder, *options)
            if result is not None:
                folder.finish(result)
    return 0


def _load(function: str) -> Callable[..., Any]:
    module, _, attribute = function.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _help() -> str:
    rows = "\n".join(f"  {name:<12}{verb.summary}" for name, verb in VERBS.items())
    return (
        "usage: teacherlm VERB --config=FILE.py[:VARIANT] [--config.KEY=VALUE ...]\n\n"
        f"verbs:\n{rows}\n\n"
        f"`teacherlm VERB {VALIDATE} ...` checks a command line without running it.\n"
        "`teacherlm VERB --help` lists the options and config keys of a verb.\n"
        "A first run: teacherlm quickstart --config=configs/quickstart.py"
    )
