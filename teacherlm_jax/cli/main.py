"""The command `teacherlm VERB --config=FILE.py[:variant] --config.key=value …`."""

import difflib
import functools
import signal
import sys
from collections.abc import Sequence

from teacherlm_jax import __version__, config
from teacherlm_jax.cli import (
    arguments,
    failures,
    flags,
    help_text,
    step_commands,
    sweep,
    validate_option,
)
from teacherlm_jax.cli.tools import TOOLS
from teacherlm_jax.errors import ExplainedError, Interrupted, UserError
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.pipelines.verbs import VERBS, Verb
from teacherlm_jax.runs import console, distributed, parent_process

USER_ERROR = 2


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status.

    0: success, 1: `doctor` found a problem, 2: invalid input, above 128: interrupted.
    """
    parent_process.follow()
    console.prepare_streams()
    words = sys.argv[1:] if words is None else words
    try:
        return _dispatch(words)
    except failures.ReaderGone:  # such as `teacherlm train --help | head`
        return failures.silence(sys.stdout)
    except ExplainedError as error:
        failures.show(error)
        return USER_ERROR
    except Interrupted as error:
        failures.show(error)
        return error.status
    except KeyboardInterrupt:
        failures.show("interrupted; repeat the command to resume")
        return 128 + signal.SIGINT
    except Exception as error:
        lower = next((VERBS[word].memory_keys for word in words[:2] if word in VERBS), "")
        message = failures.of_the_machine(error) or failures.of_memory(error, lower)
        if message is None:
            raise
        failures.show(message)
        return USER_ERROR


def _dispatch(words: Sequence[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        failures.print_out(_help())
        return 0
    name, *rest = words
    if validate_option.is_option(name) and rest:  # before the command
        name, *rest = (*rest, name)
    if name == "--version":
        failures.print_out(f"teacherlm {__version__}")
        return 0
    if name in TOOLS:
        return _use(name, rest)
    if name not in VERBS:
        known = (*VERBS, *TOOLS)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"unknown command {name!r}; known: {', '.join(known)}{hint}")
    verb = VERBS[name]
    if "--help" in rest or "-h" in rest:
        swept = () if verb.positional else (config.SweepOptions,)
        failures.print_out(help_text.verb_help(name, verb, (*_dry_options(verb), *swept)))
        return 0
    return _run(name, verb, rest)


def _run(name: str, verb: Verb, words: Sequence[str]) -> int:
    validated, devices = validate_option.split(words)
    kinds = (*verb.options, *_dry_options(verb))
    command = flags.load(validated, verb.config_classes, verb.positional, verb.needs_file, kinds)
    if devices is not None:
        distributed.require_able(name, verb.together)
        step_commands.check(command.runs)
        validate_option.check_meshes(command.runs, devices)
        failures.print_out(f"teacherlm {name}: the command line is valid")
        return 0
    if command.config is None:
        options = tuple(command.options[kind] for kind in verb.options)
        failures.print_out(verbs.overview(name, *options))
        return 0
    if command.options[config.SweepOptions].sweep_list:
        failures.print_out(sweep.listing(command.points))
    if command.options[config.SweepOptions].sweep_results:
        failures.print_out(sweep.results(command.config, command.points))
    if not command.runs:
        return 0
    if verb.steps and _show_steps(name, command):
        return 0
    if verb.dry_run and command.options[config.DryRunOptions].dry_run:
        return _dry_run(name, command)
    distributed.start(name, verb.together, verb.shared)
    if command.note and distributed.is_first():
        console.say(command.note)
    step_commands.check(command.runs)
    options = tuple(command.options[kind] for kind in verb.options)
    if command.options[config.SweepOptions].sweep_all:
        work = [functools.partial(verbs.run, name, run, *options) for run in command.runs]
        sweep.run_all(command.points, work, lambda error: failures.message(error, verb.memory_keys))
    else:
        verbs.run(name, command.runs[0], *options)
    return 0


def _use(name: str, words: Sequence[str]) -> int:
    """Run a command that has no config and no run folder."""
    tool = TOOLS[name]
    if "--help" in words or "-h" in words:
        failures.print_out(help_text.tool_help(name, tool))
        return 0
    validated, devices = validate_option.split(words)
    options = arguments.parse_options(validated, tool.options)
    if devices is not None:
        failures.print_out(f"teacherlm {name}: the command line is valid")
        return 0
    return tool.load()(options, failures.print_out)


def _dry_options(verb: Verb) -> tuple[type, ...]:
    return (config.DryRunOptions,) if verb.dry_run else ()


def _show_steps(name: str, command: flags.CommandLine) -> bool:
    """Print the steps of pipelines if the command line asks for it; return whether it does."""
    options = command.options[config.PipelineOptions]
    for settings in command.runs:
        if options.status:
            failures.print_out(verbs.status(name, settings))
        if options.graph:
            failures.print_out(verbs.graph(name, settings, options.graph))
    return options.status or bool(options.graph)


def _dry_run(name: str, command: flags.CommandLine) -> int:
    """Print what each run would do."""
    distributed.require_able(f"{name} --dry_run", together=False)
    for settings in command.runs:
        options = [command.options[config.DryRunOptions]]
        if isinstance(settings, config.PipelineConfig):
            options.append(step_commands.configs(settings))
        failures.print_out(verbs.dry_run(name, settings, *options))
    return 0


def _help() -> str:
    summaries = {name: verb.summary for name, verb in VERBS.items()}
    summaries |= {name: tool.summary for name, tool in TOOLS.items()}
    rows = "\n".join(f"  {name:<12}{summary}" for name, summary in summaries.items())
    return (
        "usage: teacherlm COMMAND --config=FILE.py[:VARIANT] [--config.KEY=VALUE ...]\n\n"
        f"commands:\n{rows}\n\n"
        "`teacherlm COMMAND --validate ...` checks a command line without running it.\n"
        "`teacherlm COMMAND --help` lists the options and config keys of a command.\n"
        "To start: teacherlm quickstart --config=configs/quickstart.py"
    )
