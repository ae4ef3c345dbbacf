"""Time that processes have worked on an annotation, and the devices they held, in `costs/`.

Each process has a file, which it replaces periodically, so little is lost if it is killed. The
files stay when the run is finished: rows that are added to its source later add to its costs.
"""

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath
from jax.sharding import Mesh

from teacherlm_jax.runs import layout
from teacherlm_jax.storage import exchange, files


@dataclasses.dataclass(frozen=True)
class WorkTime:
    """Time of work and the devices held for it.

    Attributes:
        seconds: wall-clock time, that of several processes added up.
        chip_seconds: this time multiplied with the number of devices of each process.
        chips: maximum number of devices of one process; 0 if all teachers are on servers.
        devices: kinds of the devices.
    """

    seconds: float = 0.0
    chip_seconds: float = 0.0
    chips: int = 0
    devices: tuple[str, ...] = ()

    @classmethod
    def on(cls, mesh: Mesh | None, seconds: float) -> "WorkTime":
        """Return the time of a process that held a mesh; None: no device."""
        if mesh is None:
            return cls(seconds)
        kinds = {device.device_kind for device in mesh.devices.flat}
        return cls(seconds, seconds * mesh.size, mesh.size, tuple(sorted(kinds)))

    @classmethod
    def total(cls, parts: Iterable["WorkTime"]) -> "WorkTime":
        """Return the time of several processes together."""
        parts = list(parts)
        return cls(
            sum(part.seconds for part in parts),
            sum(part.chip_seconds for part in parts),
            max((part.chips for part in parts), default=0),
            tuple(sorted({kind for part in parts for kind in part.devices})),
        )

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "WorkTime":
        """Return the time of `to_json`; other keys are ignored."""
        own = {field.name: value[field.name] for field in dataclasses.fields(cls)}
        return cls(**own | {"devices": tuple(own["devices"])})

    def to_json(self) -> dict[str, Any]:
        """Return the time as JSON."""
        return dataclasses.asdict(self) | {"devices": list(self.devices)}

    def keep(self, run: epath.Path, name: str) -> None:
        """Write the time of a process to its file in a run folder."""
        files.write_json(run / layout.COSTS / f"{name}.json", self.to_json())


class Stopwatch:
    """The time that this process has worked on a job.

    Attributes:
        seconds: time of the blocks that have ended.
        mesh: devices that it holds; None before the first.
    """

    def __init__(self, run: epath.Path):
        """Write nothing yet; `run` is the run folder."""
        self.seconds = 0.0
        self.mesh: Mesh | None = None
        self._run, self._name = run, secrets.token_hex(8)
        self._start: float | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Add the time of a `with` block."""
        self._start = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - self._start
            self._start = None

    def keep(self) -> None:
        """Write the time so far, that of a block in progress included."""
        running = 0.0 if self._start is None else time.monotonic() - self._start
        WorkTime.on(self.mesh, self.seconds + running).keep(self._run, self._name)


def spent(run: epath.Path) -> WorkTime:
    """Return the time of all processes that have worked in a run folder."""
    folder = run / layout.COSTS
    paths = [folder / name for name in sorted(files.names(folder)) if not name.startswith(".")]
    return WorkTime.total(map(WorkTime.from_json, exchange.read_each(files.read_json, paths)))
