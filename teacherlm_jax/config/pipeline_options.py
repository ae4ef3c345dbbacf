"""Command-line options of commands that run several steps."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, plain


@dataclasses.dataclass
class PipelineOptions:
    """The part of a pipeline to run or show, and how."""

    until: str = plain(
        "",
        help="run only this step, named as in --status, and the steps that it needs; a later call "
        "continues from there",
    )
    from_: str = plain(
        "", help="run only this step and the steps that need it; those before it must be finished"
    )
    processes: int = at_least(
        1, 1, help="most steps to run at the same time; steps that need each other never do"
    )
    retries: int = at_least(0, 0, help="times that a step that fails is started again")
    status: bool = plain(False, help="print the steps and which of them are finished, and run none")
    graph: str = plain(
        "",
        help="draw the steps and what they need, and run none: 'text' prints them, FILE.svg is "
        "written",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for values that cannot be used."""
        if self.graph not in ("", "text") and not self.graph.endswith(".svg"):
            yield "graph", f"expected 'text' or the name of an SVG file, got {self.graph!r}"
