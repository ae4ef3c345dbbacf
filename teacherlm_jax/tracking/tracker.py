"""The contract between the writer of a run's scalars and the services that show them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from teacherlm_jax.tracking.tracked_run import Scalar

Row = tuple[int, Mapping[str, float]]  # a step and its scalars
Table = Sequence[Mapping[str, Scalar]]  # rows of a table of results, by column

RESULT = "result/"  # begins the names of a result's numbers


class Tracker(Protocol):
    """A service that shows one run.

    Attributes:
        last: newest step that it had when it was opened; it gets only later ones.
        remote: whether it is more than a file in the run folder: it gets all scalars of a step at
            once, when the step is complete, and the run folder records the run's id there.
        where: where to look at the run, for the log; may be empty.
    """

    last: int
    remote: bool
    where: str

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Add scalars of a step."""

    def finish(self, summary: Mapping[str, Scalar], table: Table, step: int) -> None:
        """Add the result of a finished run, whose last step was `step`."""

    def close(self, error: BaseException | None) -> None:
        """End the run, which `error` stopped unless it is None."""


def numbers(summary: Mapping[str, Scalar]) -> dict[str, float]:
    """Return the numbers of a result, with names that begin with RESULT."""
    return {
        f"{RESULT}{key}": float(value)
        for key, value in summary.items()
        if isinstance(value, (int, float))
    }
