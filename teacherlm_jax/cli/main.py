"""The command `teacherlm VERB --config=FILE.py[:variant] --config.key=value …`."""

import dataclasses
import errno
import functools
import importlib
import operator
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teacherlm_jax import __version__, config
from teacherlm_jax.cli import flags, sweep
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.runs import distributed, run_folder

USER_ERROR = 2


@dataclasses.dataclass(frozen=True)
class Verb:
    """One thing that the command does.

    Attributes:
        summary: its line in the help.
        config_classes: of which its config files return one.
        function: `module:function`, imported only when the verb runs, so that preparing data never
            loads JAX and training never loads TensorFlow.
        may_change: keys that a finished or interrupted run may be continued with differently.
        repeats: the verb does its work again although the run folder holds a result.
        positional: keys that the command line sets without their names, and what the help calls
            them. Such a verb opens its output itself, which need not be a run folder.
        needs_file: whether it takes a config file to say what is to be done.
        folder: of a config, the run folder.
        options: dataclasses of what the command line gives beside the config, each by its name.
            They are the function's last arguments, and no part of the run's config.
        together: several processes can do it as one; see `distributed`.
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

    @property
    def usage(self) -> str:
        """What follows the verb's name on the command line."""
        first = " ".join(self.positional.values()) or "--config=FILE.py[:variant]"
        return f"{first} --config.key=value …"


VERBS = {
    "prepare": Verb(
        "turn data sets into packed rows on disk",
        (config.PrepareConfig,),
        "teacherlm_jax.tasks.prepare:prepare",
        may_change=("check_only", "evaluation", "runner", "beam_options"),
        repeats=True,  # it compares what is there with the sources as they are now
    ),
    "train": Verb(
        "train a teacher's stage or a student",
        (config.TrainConfig,),
        "teacherlm_jax.training.loop:train",
        may_change=(
            *("mesh", "checkpoint", "log_every", "verify_data", "profile", "compilation_cache"),
        ),
        together=True,
    ),
    "annotate": Verb(
        "let teachers explain every row of a data set",
        (config.AnnotateConfig,),
        "teacherlm_jax.annotation.job:annotate",
        may_change=("mesh", "slots", "attention"),
    ),
    "evaluate": Verb(
        "rank classification on benchmarks",
        (config.EvaluateConfig,),
        "teacherlm_jax.evaluation.harness:evaluate",
        may_change=("mesh", "batch_tokens", "attention"),
        together=True,
    ),
    "convert": Verb(
        "a checkpoint of Hugging Face's layout to ours, or back",
        (config.ConvertConfig,),
        "teacherlm_jax.hf.convert:convert",
        positional={"source": "SRC", "output": "DST"},
    ),
    "plan": Verb(
        "what a config needs of a TPU slice, without having one",
        (config.TrainConfig, config.AnnotateConfig),
        "teacherlm_jax.planning.plan:plan",
        may_change=("",),  # every plan is made anew
        folder=lambda settings: f"{settings.output}.plan",
        options=(config.PlanOptions,),
    ),
    "report": Verb(
        "tables and figures of finished runs, or of a data set (--data DIR)",
        (config.ReportConfig,),
        "teacherlm_jax.report.build:report",
        repeats=True,
        needs_file=False,
        folder=operator.attrgetter("folder"),
    ),
    "quickstart": Verb(
        "the whole flow at toy size, with generated data",
        (config.QuickstartConfig,),
        "teacherlm_jax.pipelines.quickstart:quickstart",
        repeats=True,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit status (0 done, 2 unusable input, over 128 interrupted)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"teacherlm {__version__}")
        return 0
    try:
        return _run(arguments[0], arguments[1:])
    except UserError as error:
        print(f"teacherlm: {error}", file=sys.stderr)
        return USER_ERROR
    except Interrupted as error:
        print(f"teacherlm: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("teacherlm: interrupted; the same command goes on from here", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        message = _of_the_machine(error)
        if message is None:
            raise
        print(f"teacherlm: {message}", file=sys.stderr)
        return USER_ERROR


def _run(name: str, arguments: Sequence[str]) -> int:
    if name not in VERBS:
        raise UserError(f"unknown verb {name!r}; known: {', '.join(VERBS)}")
    verb = VERBS[name]
    if "--help" in arguments or "-h" in arguments:
        print(f"teacherlm {name} {verb.usage}: {verb.summary}")
        print(f"\nkeys and defaults:\n{flags.describe(verb.config_classes[0])}")
        for kind in (config.SweepOptions, *verb.options):
            print(flags.describe_options(kind))
        return 0
    request = flags.load(
        arguments, verb.config_classes, verb.positional, verb.needs_file, verb.options
    )
    settings, asked = request.config, request.options[config.SweepOptions]
    if asked.sweep_list or asked.sweep_results:
        table = sweep.listing if asked.sweep_list else functools.partial(sweep.results, settings)
        print(table(request.points))
        return 0
    distributed.start(name, verb.together)
    if verb.positional:
        _load(verb.function)(settings)
        return 0
    path = verb.folder(settings)
    with run_folder.open_run(path, name, settings, may_change=verb.may_change) as folder:
        if folder.result is not None and not verb.repeats:
            folder.log.info("%s: finished before; remove the folder to do it again", folder.path)
        else:
            options = [request.options[kind] for kind in verb.options]
            result = _load(verb.function)(settings, folder, *options)
            if result is not None:
                folder.finish(result)
    return 0


def _of_the_machine(error: Exception) -> str | None:
    """What to tell the user of a full disk or a path that cannot be used; None for all else.

    Libraries that write by themselves report a full disk in errors of their own.
    """
    full = os.strerror(errno.ENOSPC)
    if isinstance(error, OSError) and error.errno is not None:
        where, what = error.filename or "config.output", os.strerror(error.errno)
        known = error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT)
    else:
        named = re.search(r'"(/[^"]+)"', str(error))
        where, what = named[1] if named else "config.output", full
        known = full in str(error)
    if not known:
        return None
    return (
        f"{where}: {what}; what was finished before is whole: mend that or name another "
        "config.output, then give the same command again"
    )


def _load(function: str) -> Callable[..., Any]:
    module, _, attribute = function.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _help() -> str:
    rows = "\n".join(f"  {name:<12}{verb.summary}" for name, verb in VERBS.items())
    return (
        "teacherlm VERB --config=FILE.py[:variant] --config.key=value …\n"
        f"teacherlm convert {VERBS['convert'].usage}\n\n"
        f"{rows}\n\n`teacherlm VERB --help` lists a verb's keys and their defaults."
    )
