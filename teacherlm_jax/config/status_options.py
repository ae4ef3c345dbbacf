"""Command-line options of `teacherlm status`."""

import dataclasses

from teacherlm_jax.config.fields import number, plain, words


@dataclasses.dataclass
class StatusOptions:
    """Runs to look at, and the form of the answer."""

    runs: tuple[str, ...] = words("RUN", help="run folder, or a folder of runs, also in a bucket")
    watch: bool = plain(
        False, help="show the status again every few seconds, until all runs are finished"
    )
    every: float = number(5.0, limits="[1, 3600]", help="with --watch: seconds between two looks")
    json: bool = plain(
        False, help="print JSON: a list with one object per run; with --watch, one list per line"
    )
