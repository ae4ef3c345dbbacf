"""What stands on a command line beside the config: keys that decide no result."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least


@dataclasses.dataclass
class SweepOptions:
    """Which of the config file's `sweep()` is meant; see `teacherlm_jax.cli.sweep`."""

    sweep_index: int = at_least(-1, -1)  # runs this point; -1: the config as it is
    sweep_list: bool = False  # prints the points and runs none
    sweep_results: bool = False  # collects what the finished ones gave, in one table

    @property
    def asked(self) -> bool:
        """Whether the command line is about a sweep."""
        return self.sweep_index >= 0 or self.sweep_list or self.sweep_results

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if (self.sweep_index >= 0) + self.sweep_list + self.sweep_results > 1:
            yield "sweep_index", "give one of --sweep_index, --sweep_list and --sweep_results"
