"""Which checkpoints survive, and how the others go: whole at once, even if a crash comes between.

Removing a folder takes time, and half a checkpoint under its own name would pass for one. So what
is to go is moved into a folder of its own first, which is emptied later.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REMOVED = "removed"  # beside the steps


@dataclasses.dataclass(frozen=True)
class Kept:
    """Orbax's policy of what survives a save: the newest checkpoints, and the best.

    Attributes:
        newest: how many of the newest.
        best: how many of the best; a checkpoint may be both.
        ranking: gives the steps that were measured, the best first.
    """

    newest: int
    best: int
    ranking: Callable[[], list[int]]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """For each of `checkpoints` (by step, ascending, with the one being saved)."""
        del context
        kept = self.of([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in kept for checkpoint in checkpoints]

    def of(self, steps: Sequence[int]) -> set[int]:
        """Those of `steps` (ascending) that survive."""
        ranked = [step for step in self.ranking() if step in steps]
        return {*steps[-self.newest :], *ranked[: self.best]}


def empty(folder: Path) -> None:
    """Deletes what was moved to the REMOVED of a folder of checkpoints."""
    if (folder / REMOVED).exists():
        shutil.rmtree(folder / REMOVED)
