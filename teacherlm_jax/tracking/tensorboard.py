"""TensorBoard event files, written without importing torch."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from teacherlm_jax.runs import layout
from teacherlm_jax.storage.disk_errors import naming
from teacherlm_jax.tracking.tracked_run import NEVER, Scalar, TrackedRun
from teacherlm_jax.tracking.tracker import Table, numbers

_SHOWN = ("train/loss", "train/accuracy")  # metrics beside the settings in the tab HPARAMS


class TensorBoardTracker:
    """Event files in `tensorboard/` of the run folder.

    Steps may go back: of a resumed run, the repeated steps replace those that were logged before.
    """

    remote = False
    where = ""

    def __init__(self, run: TrackedRun, step: int, say: Callable[[str], None]):
        """Start a file with the settings; events of steps after `step` are hidden.

        So are those after `run.step`, which were not logged here, if it is known.
        """
        folder = run.path / layout.TENSORBOARD
        self.last = NEVER
        if folder.is_dir() and any(folder.iterdir()):
            self.last = step if run.step == NEVER else min(step, run.step)
        self._writer = EventWriter(folder, purge_step=self.last + 1)
        self._writer.add_settings(run.config)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Add scalars of a step."""
        self._writer.add_scalars(scalars, step)

    def finish(self, summary: Mapping[str, Scalar], table: Table, step: int) -> None:
        """Add the numbers of the result, and the table as a text."""
        self._writer.add_scalars(numbers(summary), step)
        if table:
            self._writer.add_text("results", _markdown(table), step)

    def close(self, error: BaseException | None) -> None:
        """Close the file."""
        self._writer.close()


class EventWriter:
    """An event file in which every event is on disk as soon as it is added.

    tensorboardX's own SummaryWriter queues events for up to two minutes and loses them if the
    process is killed; and its thread prints a traceback when the disk is full.
    """

    def __init__(self, folder: Path, purge_step: int):
        """Start a new file in `folder`.

        Earlier events of `purge_step` and later steps are hidden, because those are repeated.
        """
        with _WithoutTorch():
            from tensorboardX import summary
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
            from tensorboardX.proto.summary_pb2 import Summary
        self._event, self._summary, self._summaries = Event, Summary, summary
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = EventsWriter(str(folder / "events"))
        self._closed = False
        start = SessionLog(status=SessionLog.START)
        self._file.write_event(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def add_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Write scalars of a step."""
        value = self._summary.Value
        self._add(
            self._summary(
                value=[value(tag=key, simple_value=number) for key, number in scalars.items()]
            ),
            step,
        )

    def add_settings(self, settings: Mapping[str, Scalar]) -> None:
        """Write the settings of the run, for the tabs TEXT and HPARAMS."""
        table = [{"setting": key, "value": value} for key, value in settings.items()]
        self.add_text("config", _markdown(table), 0)
        experiment, start, _ = self._summaries.hparams(dict(settings), dict.fromkeys(_SHOWN))
        self._add(experiment, 0)
        self._add(start, 0)

    def add_text(self, name: str, text: str, step: int) -> None:
        """Write a text in Markdown."""
        self._add(self._summaries.text(name, text), step)

    def close(self) -> None:
        """Close the file; may be called more than once."""
        # Events that could not be written were reported when they were added.
        with contextlib.suppress(OSError):
            if not self._closed:
                self._closed = True
                self._file.close()

    def _add(self, summary: Any, step: int) -> None:
        with naming(self._folder):
            self._file.write_event(self._event(wall_time=time.time(), step=step, summary=summary))
            self._file.flush()


def _markdown(table: Table) -> str:
    """Return a table in Markdown."""
    columns = list(table[0])
    lines = [[*columns], ["---"] * len(columns)]
    lines += [[str(row.get(column, "")) for column in columns] for row in table]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class _WithoutTorch:
    """Hide torch from imports.

    tensorboardX imports it if it is installed, which takes a second, and training does not need it.
    """

    def __enter__(self) -> None:
        self._hidden = "torch" not in sys.modules
        if self._hidden:
            cast(dict[str, Any], sys.modules)["torch"] = None  # how Python marks a missing module

    def __exit__(self, *error: object) -> None:
        if self._hidden:
            del sys.modules["torch"]
