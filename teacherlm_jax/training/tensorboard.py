"""TensorBoard event files, written without importing torch."""

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from teacherlm_jax.storage.disk_errors import naming


class EventWriter:
    """An event file in which every scalar is on disk as soon as it is added.

    tensorboardX's own SummaryWriter queues events for up to two minutes and loses them if the
    process is killed; and its thread prints a traceback when the disk is full.
    """

    def __init__(self, folder: Path, purge_step: int):
        """Start a new file in `folder`.

        Earlier events of `purge_step` and later steps are hidden, because those are repeated.
        """
        with _WithoutTorch():
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog
            from tensorboardX.proto.summary_pb2 import Summary
        self._event, self._summary = Event, Summary
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = EventsWriter(str(folder / "events"))
        self._closed = False
        start = SessionLog(status=SessionLog.START)
        self._file.write_event(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def add_scalars(self, scalars: Mapping[str, float], step: int) -> None:
        """Write scalars of a step."""
        value = self._summary.Value
        summary = self._summary(
            value=[value(tag=key, simple_value=number) for key, number in scalars.items()]
        )
        with naming(self._folder):
            self._file.write_event(self._event(wall_time=time.time(), step=step, summary=summary))
            self._file.flush()

    def close(self) -> None:
        """Close the file; may be called more than once."""
        # Scalars that could not be written were reported by `add_scalars`.
        with contextlib.suppress(OSError):
            if not self._closed:
                self._closed = True
                self._file.close()


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
