"""Pipelines on Apache Beam: a sequence of functions, applied to many elements on any runner."""

import ast
import contextlib
import dataclasses
import functools
import importlib
import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from teacherlm_jax.errors import ExplainedError, MissingFile, StoreError, UserError
from teacherlm_jax.runs.console import quiet_stderr
from teacherlm_jax.storage.holders import FolderInUse

DIRECT = "DirectRunner"

Stage = Callable[[Any], Iterable[Any]]

# What Beam itself uses for the name DirectRunner downloads another runner first.
_ON_THIS_MACHINE = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
# Kinds of errors in the traceback that a worker sends, what Beam adds to a message, and the end of
# the message of an error about a file.
_REFUSALS = {
    f"{kind.__module__}.{kind.__qualname__}": kind
    for kind in (UserError, MissingFile, FolderInUse, StoreError)
}
_ADDED = re.compile(r" \[while running '[^']*'\]$")
_OF_A_FILE = re.compile(r"""\[Errno (\d+)\] [^:]*: ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")$""")
_PROCESSES = "--direct_running_mode=multi_processing"
_SIDE_OUTPUT = "side_output"


@dataclasses.dataclass(frozen=True)
class SideOutput:
    """A result of a stage for the side output of `Beam.run_in_turn`."""

    value: Any


class Beam:
    """A Beam runner with its options.

    Attributes:
        runner: name of the runner, for messages.
    """

    def __init__(self, runner: str, options: Sequence[str], direct_workers: int = 0):
        """Open a runner; DirectRunner uses several processes unless the options differ.

        Args:
            runner: name of the runner, as Beam knows it.
            options: options of Beam and of the runner, such as "--direct_num_workers=4".
            direct_workers: processes of DirectRunner without that option; 0: one per core.

        Raises:
            UserError: Beam is not installed, or does not know the runner or an option.
        """
        self.runner = runner
        self._beam = _import_beam()
        self._direct = runner.lower() in (DIRECT.lower(), "direct")
        self._class = _ON_THIS_MACHINE if self._direct else runner
        direct = (_PROCESSES, f"--direct_num_workers={direct_workers}") if self._direct else ()
        self._options = self._parse((*direct, *options))
        self._new_runner()  # to report an unknown runner early

    def run(self, name: str, elements: Iterable[Any], stages: Sequence[Stage]) -> None:
        """Apply the first stage to each element, and each further stage to the results before it.

        Elements are distributed evenly over the workers before each stage. Beam pickles elements
        and stages to send them to workers.

        Args:
            name: name of the pipeline's steps.
            elements: input of the first stage.
            stages: functions that take one element and return any number of elements.

        Raises UserError, StoreError or the OSError of a file if a stage raises one on a worker.
        """
        pipeline = self._pipeline()
        collection = pipeline | self._beam.Create(list(elements))
        for number, stage in enumerate(stages):
            collection |= f"share {name} {number}" >> self._beam.Reshuffle()
            collection |= f"{name} {number}" >> self._beam.FlatMap(stage)
        self._run(pipeline)

    def run_in_turn(
        self, name: str, steps: Iterable[tuple[Iterable[Any], Stage]], writer: Stage
    ) -> None:
        """Apply the stage of each step to the step's elements, one step after the other.

        Args:
            name: name of the pipeline's steps.
            steps: elements and stages, as for `run`. A stage yields only `SideOutput`.
            writer: stage that gets the values that all stages yield as `SideOutput`.

        Raises UserError, StoreError or the OSError of a file if a stage raises one on a worker.
        """
        pipeline, outputs = self._pipeline(), list[Any]()
        before: tuple[Any, ...] = ()
        for number, (elements, stage) in enumerate(steps):
            collection = pipeline | f"of {name} {number}" >> self._beam.Create(list(elements))
            collection |= f"share {name} {number}" >> self._beam.Reshuffle()
            step = self._beam.FlatMap(_in_turn(stage), *before).with_outputs(
                _SIDE_OUTPUT, main="main"
            )
            results = collection | f"{name} {number}" >> step
            before = (self._beam.pvalue.AsIter(results["main"]),)  # complete when the step is
            outputs.append(results[_SIDE_OUTPUT])
        if outputs:
            flat = outputs | f"side output of {name}" >> self._beam.Flatten()
            _ = flat | f"after {name}" >> self._beam.FlatMap(writer)
            self._run(pipeline)

    def _pipeline(self) -> Any:
        return self._beam.Pipeline(runner=self._new_runner(), options=self._options)

    def _run(self, pipeline: Any) -> None:
        """Run a pipeline; raise what a stage raised for a user, without Beam's own output."""
        ended: BaseException | None = None
        # local workers write to this console, remote workers to their own logs
        with quiet_stderr() if self._direct else contextlib.nullcontext():
            try:
                pipeline.run().wait_until_finish()
            except KeyboardInterrupt as signal:
                ended = signal
            except Exception as error:
                ended = _refusal(error)
                if ended is None:
                    raise
        if ended is not None:
            raise ended

    def _new_runner(self) -> Any:
        """Return a new runner; each runner runs one pipeline only."""
        runner = importlib.import_module("apache_beam.runners.runner")
        try:
            return runner.create_runner(self._class)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"config.runner: {self.runner!r} cannot be used: {error}; name another runner, or "
                "install what it needs"
            ) from None

    def _parse(self, options: Sequence[str]) -> Any:
        module = importlib.import_module("apache_beam.options.pipeline_options")
        stderr = io.StringIO()
        try:
            with contextlib.redirect_stderr(stderr):
                parsed = module.PipelineOptions([*options])
                known, requested = (
                    parsed.get_all_options(retain_unknown_options=unknown)
                    for unknown in (False, True)
                )
        except SystemExit:  # raised by argparse
            reason = stderr.getvalue().strip().rpartition("error: ")[2]
            raise UserError(f"config.beam_options: {reason}; correct the option") from None
        # other runners may accept options that Beam itself does not know
        if self._direct and (unknown := sorted(requested.keys() - known.keys())):
            raise UserError(
                f"config.beam_options: Beam has no option --{unknown[0]}; see the help of "
                "apache_beam.options.pipeline_options.DirectOptions"
            )
        return parsed


def _in_turn(stage: Stage) -> Callable[..., Iterable[Any]]:
    """Return a stage whose results go to the side output, and that waits for the step before it."""

    def in_turn(element: Any, before: Iterable[Any] = ()) -> Iterable[Any]:
        tagged = importlib.import_module("apache_beam").pvalue.TaggedOutput
        for result in stage(element):
            yield tagged(_SIDE_OUTPUT, result.value)

    return in_turn


def _refusal(error: Exception) -> Exception | None:
    """Return the error for a user that a worker raised, or the OSError of a file, such as ENOSPC.

    A worker in this process raises the error for a user itself, others send the text of its
    traceback. Beam puts the text of an OSError into one of another class. Returns None for any
    other error.
    """
    message = _ADDED.sub("", str(error).strip())
    if isinstance(error, ExplainedError):
        return type(error)(message)
    name, _, text = message.rpartition("\n")[2].partition(": ")
    if kind := _REFUSALS.get(name):
        return kind(text)
    if of_file := _OF_A_FILE.search(message):
        number = int(of_file[1])
        return OSError(number, os.strerror(number), ast.literal_eval(of_file[2]))
    return None


@functools.cache
def _import_beam() -> Any:
    try:
        with quiet_stderr():  # Beam complains about missing Google libraries
            return importlib.import_module("apache_beam")
    except ModuleNotFoundError as error:
        if error.name != "apache_beam":
            raise
    raise UserError(
        "config.runner: Apache Beam is not installed; install it with `pip install -r "
        "requirements-beam.txt` in a clone of the repository, or leave config.runner empty"
    )
