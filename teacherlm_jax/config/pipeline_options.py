"""Command-line options of commands that run several steps."""

import dataclasses

from teacherlm_jax.config.fields import plain


@dataclasses.dataclass
class PipelineOptions:
    """The part of a pipeline to run or show."""

    until: str = plain(
        "", help="stop after this step, named as in --status; a later call continues from there"
    )
    status: bool = plain(False, help="print the steps and which of them are finished, and run none")
