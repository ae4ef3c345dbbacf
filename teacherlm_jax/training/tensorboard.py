"""Scalars for TensorBoard, without bringing torch along."""

import contextlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from teacherlm_jax.storage.disk_errors import naming


class EventWriter:
    """One file of events, on disk as soon as they are added.

    tensorboardX's own SummaryWriter keeps them in a queue for up to two minutes, which are lost
    with a process that is killed; and its thread ends in a traceback when the disk is full.
    """

    def __init__(self, folder: Path, purge_step: int):
        """Begins a file of its own in `folder`.

        What was written of `purge_step` and later steps is hidden, since they come again.
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
        """Writes what is known of a step."""
        value = self._summary.Value
        summary = self._summary(
            value=[value(tag=key, simple_value=number) for key, number in scalars.items()]
        )
        with naming(self._folder):
            self._file.write_event(self._event(wall_time=time.time(), step=step, summary=summary))
            self._file.flush()

    def close(self) -> None:
        """Closes the file; may be called again."""
        # What could not be written was told of when it was added.
        with contextlib.suppress(OSError):
            if not self._closed:
                self._closed = True
                self._file.close()


class _WithoutTorch:
    """Makes imports find no torch.

    tensorboardX imports it wherever it is installed. That takes a second, and training has no use
    for it.
    """

    def __enter__(self) -> None:
        self._hidden = "torch" not in sys.modules
        if self._hidden:
            cast(dict[str, Any], sys.modules)["torch"] = None  # how Python notes that there is none

    def __exit__(self, *error: object) -> None:
        if self._hidden:
            del sys.modules["torch"]
