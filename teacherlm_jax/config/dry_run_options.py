"""Command-line options that show what a run would do, without beginning it."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import plain


@dataclasses.dataclass
class DryRunOptions:
    """A dry run, and a TPU slice or GPUs that it also estimates."""

    dry_run: bool = plain(
        False,
        help="show what the run would do, with estimated hours, and write nothing. For an "
        "annotation: rows, prompts, compiled programs and memory; a few prompts are generated to "
        "measure the speed. For a pipeline: every command with its slice, hours, chip-hours and "
        "storage, estimated from sizes",
    )
    topology: str = plain(
        "",
        help="with --dry_run: estimate the hours on this TPU slice or these GPUs, such as v5e:4x4 "
        "or gpu:h100x8, in place of the slices of a pipeline's steps",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.topology and not self.dry_run:
            yield "topology", f"{self.topology!r} needs --dry_run; add it, or use `teacherlm plan`"
