"""Scalars for TensorBoard, without bringing torch along."""

import sys
from pathlib import Path
from typing import Any, cast


def event_writer(folder: Path, purge_step: int) -> Any:
    """A TensorBoard writer, imported without torch.

    What was written of `purge_step` and later steps is hidden, since they come again.

    tensorboardX imports torch wherever it is installed. That takes a second, and training has no
    use for it, so the import is made to find none.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        cast(dict[str, Any], sys.modules)["torch"] = None  # how Python notes that there is none
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hidden:
            del sys.modules["torch"]
    return SummaryWriter(str(folder), purge_step=purge_step)
