"""A run in trackio: on this machine, in a Space, or on a server of its own."""

import contextlib
import importlib
import io
import os
import secrets
from collections.abc import Callable, Iterator, Mapping

from teacherlm_jax.tracking.tracked_run import Scalar, TrackedRun
from teacherlm_jax.tracking.tracker import Table, numbers

_ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")  # where trackio writes, if set


class TrackioTracker:
    """A run of the package trackio.

    trackio knows a run by its name, so the id of a run is a name that no other run of the project
    has. A step never goes back: of a resumed run, trackio keeps the steps that it has.
    """

    remote = True

    def __init__(self, run: TrackedRun, step: int, say: Callable[[str], None]):
        """Start the run, or continue the one with the name `run.id`."""
        with _silent():
            trackio = self._trackio = importlib.import_module("trackio")
            resume = "allow" if run.id else "never"
            run.id = run.id or _unused(run)
            config = {**run.config, "tags": ", ".join(run.tags)}
            self._run = trackio.init(
                project=run.project,
                name=run.id,
                group=run.group or None,
                config=config,
                resume=resume,
                embed=False,
            )
        self.last = getattr(self._run, "_next_step", run.step + 1) - 1
        self.where = f"run {run.id}; `trackio show --project {run.project}` shows it"

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Add the scalars of a step."""
        self._run.log(dict(scalars), step=step)

    def finish(self, summary: Mapping[str, Scalar], table: Table, step: int) -> None:
        """Add the numbers of the result, and the table as `results`."""
        result: dict[str, object] = {**numbers(summary)}
        if table:
            result["results"] = self._trackio.Table(data=[dict(row) for row in table])
        self._run.log(result, step=step)

    def close(self, error: BaseException | None) -> None:
        """End the run, and wait up to 30 seconds for its last uploads."""
        with _silent():
            self._trackio.finish()  # unlike the run's own method, it also forgets the run


def _unused(run: TrackedRun) -> str:
    """Return the name of a new run, with a suffix unless it is known that no other run has it."""
    import trackio

    taken = any(os.environ.get(name) for name in _ELSEWHERE)
    with contextlib.suppress(ValueError):  # there is no such project yet
        taken = taken or any(other.name == run.name for other in trackio.Api().runs(run.project))
    return f"{run.name}-{secrets.token_hex(2)}" if taken else run.name


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Discard what trackio prints in the block; the log of the run has what matters."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
