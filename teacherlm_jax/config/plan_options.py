"""Command-line options of `teacherlm plan`, given in addition to the config to plan."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, plain, required


@dataclasses.dataclass
class PlanOptions:
    """The slice or GPUs to plan for, and facts about data and teachers that do not exist."""

    topology: str = required(
        help="TPU slice or GPUs to plan for, such as v5e:8x8, v5p:4x4x8, gpu:4090 or gpu:h100x8"
    )
    fits: bool = plain(
        False,
        help="for GPUs, without a config: show which published models fit, to be trained (all "
        "parameters, or LoRA) and to write explanations (bfloat16, or int8)",
    )
    length: int = at_least(
        0,
        0,
        help="tokens of a packed row, or of the longest prompt; 0: from the data or the config if "
        "they have it, else 2048",
    )
    model: str = plain(
        "",
        help="for an annotation whose teacher does not exist: published model shape, such as "
        "bloom-7b1; empty: the teacher's",
    )
    rows: int = at_least(
        0,
        0,
        help="for an annotation: number of rows of the dataset, for the hours that they take; "
        "0: only the speed",
    )
    advise: bool = plain(
        False,
        help="for a TPU slice: if it does not fit, compile suggested settings until one fits",
    )
    calibration: str = plain(
        "",
        help="for GPUs: JSON file of `make bench-gpu` on such a GPU, whose measured speed replaces "
        "the assumed one",
    )

    @property
    def without_config(self) -> bool:
        """Return whether the command takes no config."""
        return self.fits

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        for key in ("model", "rows", "advise", "calibration"):
            if self.fits and getattr(self, key):
                yield key, "has no effect with --fits; leave it out"
