"""Work on Apache Beam: functions that follow one another, over many elements, on any runner."""

import contextlib
import functools
import importlib
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from teacherlm_jax.errors import UserError
from teacherlm_jax.tasks import chatter_held_back

DIRECT = "DirectRunner"

Stage = Callable[[Any], Iterable[Any]]

# Beam's own choice for the name DirectRunner begins with a download of another runner.
_ON_THIS_MACHINE = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
_DIRECT_OPTIONS = ("--direct_running_mode=multi_processing", "--direct_num_workers=0")  # all cores


class Beam:
    """A runner of Beam with its options.

    Attributes:
        runner: its name, for messages.
    """

    def __init__(self, runner: str, options: Sequence[str]):
        """Finds the runner; DirectRunner has a process on every core unless `options` differ.

        Raises UserError when Beam is not installed, and for what it does not know.
        """
        self.runner = runner
        self._beam = _import_beam()
        self._direct = runner.lower() in (DIRECT.lower(), "direct")
        self._class = _ON_THIS_MACHINE if self._direct else runner
        self._options = self._parsed((*_DIRECT_OPTIONS, *options) if self._direct else options)
        self._made()

    def run(self, name: str, elements: Iterable[Any], stages: Sequence[Stage]) -> None:
        """Gives each element to the first stage, and what a stage yields to the next one.

        All of it is shared out among the workers before each stage. Elements and stages travel
        there by pickle.
        """
        pipeline = self._beam.Pipeline(runner=self._made(), options=self._options)
        found = pipeline | self._beam.Create(list(elements))
        for number, stage in enumerate(stages):
            found |= f"share {name} {number}" >> self._beam.Reshuffle()
            found |= f"{name} {number}" >> self._beam.FlatMap(stage)
        # on this machine its workers write to the same console, on others into logs of their own
        with chatter_held_back() if self._direct else contextlib.nullcontext():
            pipeline.run().wait_until_finish()

    def _made(self) -> Any:
        """A new runner: one runs one pipeline."""
        runner = importlib.import_module("apache_beam.runners.runner")
        try:
            return runner.create_runner(self._class)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"config.runner: {self.runner!r} cannot be used: {error}") from None

    def _parsed(self, options: Sequence[str]) -> Any:
        module = importlib.import_module("apache_beam.options.pipeline_options")
        told = io.StringIO()
        try:
            with contextlib.redirect_stderr(told):
                found = module.PipelineOptions([*options])
                known, asked = (
                    found.get_all_options(retain_unknown_options=every) for every in (False, True)
                )
        except SystemExit:  # argparse's way
            why = told.getvalue().strip().rpartition("error: ")[2]
            raise UserError(f"config.beam_options: {why}") from None
        # what serves another runner may understand what Beam itself does not
        if self._direct and (unknown := sorted(asked.keys() - known.keys())):
            raise UserError(
                f"config.beam_options: Beam has no option --{unknown[0]}; see the help of "
                "apache_beam.options.pipeline_options.DirectOptions"
            )
        return found


@functools.cache
def _import_beam() -> Any:
    try:
        with chatter_held_back():  # of libraries of Google's that it misses
            return importlib.import_module("apache_beam")
    except ModuleNotFoundError as error:
        if error.name != "apache_beam":
            raise
    raise UserError(
        "config.runner: Apache Beam is not installed; install it as "
        'pip install "teacherlm_jax[beam]", or leave the runner out'
    )
