"""TeacherLM in JAX: train teachers that explain, explain datasets, train students, measure them.

Method: TeacherLM, arXiv 2310.19019.

Dimension legend, used in every array annotation of the package:

    B batch          T query length   S key length     D model width
    N heads          H head width     F MLP width      V vocabulary     L layers
    E embedding width
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Without this, an installed TensorFlow would serve gs:// paths, which takes seconds to import.
os.environ.setdefault("EPATH_USE_TF", "false")

if TYPE_CHECKING:
    from teacherlm_jax.api import (
        Explanation,
        Model,
        OptionScores,
        annotate,
        compare,
        convert,
        dry_run,
        evaluate,
        figures,
        load,
        prepare,
        samples,
        train,
        write_report,
    )

__version__ = "0.1.0"
__all__ = [
    "Explanation",
    "Model",
    "OptionScores",
    "annotate",
    "compare",
    "convert",
    "dry_run",
    "evaluate",
    "figures",
    "load",
    "prepare",
    "samples",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    # The API imports JAX, which takes seconds: `import teacherlm_jax` alone is free.
    if name in __all__:
        return getattr(importlib.import_module("teacherlm_jax.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
