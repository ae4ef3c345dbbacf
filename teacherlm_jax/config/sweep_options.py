"""Command-line options for the sweep of a config file."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, plain


@dataclasses.dataclass
class SweepOptions:
    """Points of the config file's `sweep()` to run or show; see `teacherlm_jax.cli.sweep`."""

    sweep_index: int = at_least(
        -1,
        -1,
        unset=-1,
        help="run this point of the sweep, counted from 0; the function sweep() of the config file "
        "defines the points (see docs/how-to/sweep.md)",
    )
    sweep_all: bool = plain(False, help="run all points of the sweep, one after the other")
    sweep_list: bool = plain(False, help="print the points of the sweep and run none")
    sweep_results: bool = plain(
        False, help="print the results of the finished points, and write them to OUTPUT/sweep.csv"
    )

    @property
    def used(self) -> bool:
        """True if the command line runs or shows points of a sweep."""
        return self.sweep_index >= 0 or self.sweep_all or self.sweep_list or self.sweep_results

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if (self.sweep_index >= 0) + self.sweep_all + self.sweep_list + self.sweep_results > 1:
            yield (
                "sweep_index",
                "give only one of --sweep_index, --sweep_all, --sweep_list and --sweep_results",
            )
