"""Retention: checkpoints to keep, and atomic removal of the others.

Removing a folder takes time, and a crash in between would leave half a checkpoint under its own
name. So a checkpoint is first moved into a folder for removed ones, which is emptied later.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

REMOVED = "removed"  # folder for removed checkpoints, next to the steps


@dataclasses.dataclass(frozen=True)
class RetentionPolicy:
    """Preservation policy for Orbax: keep the newest checkpoints and the best ones.

    Attributes:
        newest: number of newest checkpoints to keep.
        best: number of best checkpoints to keep; a checkpoint may be both.
        ranking: returns the validated steps, best first.
    """

    newest: int
    best: int
    ranking: Callable[[], list[int]]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Return whether to keep each checkpoint, by step, including the one being saved."""
        del context
        kept = self.of([checkpoint.step for checkpoint in checkpoints])
        return [checkpoint.step in kept for checkpoint in checkpoints]

    def of(self, steps: Sequence[int]) -> set[int]:
        """Return the steps to keep of `steps`, which are ascending."""
        ranked = [step for step in self.ranking() if step in steps]
        return {*steps[-self.newest :], *ranked[: self.best]}


def empty(folder: epath.Path) -> None:
    """Delete the removed checkpoints of a folder of checkpoints."""
    if (folder / REMOVED).exists():
        (folder / REMOVED).rmtree()
