"""How fast a chip could at best be at what a program does: its roofline (Williams et al. 2009)."""

import dataclasses

from teacherlm_jax.planning.chips import Chip
from teacherlm_jax.planning.counts import Counts


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Least seconds of one run, by what takes them; in the best case they pass side by side.

    Attributes:
        compute: products at the chip's bfloat16 peak.
        memory: reads and writes of main memory at its full bandwidth.
        links: bytes to other chips with all links busy.
    """

    compute: float
    memory: float
    links: float

    @property
    def seconds(self) -> float:
        """Of the run: no less than the slowest of them takes."""
        return max(dataclasses.astuple(self))

    @property
    def bound(self) -> str:
        """What holds it up: "compute", "memory" or "links"."""
        return max(dataclasses.asdict(self).items(), key=lambda item: item[1])[0]


def roofline(counts: Counts, chip: Chip) -> Roofline:
    """Of a program on a chip."""
    return Roofline(
        compute=counts.flops / chip.peak,
        memory=counts.memory / chip.bandwidth,
        links=sum(counts.sent.values()) / chip.links,
    )


def intensity(counts: Counts) -> float:
    """Operations for each byte of main memory that is read or written."""
    return counts.flops / counts.memory if counts.memory else 0.0


def mfu_bound(needed: float, seconds: float, chips: int, chip: Chip) -> float:
    """Model FLOPs utilisation (arXiv 2204.02311) at best: `needed` operations in these seconds."""
    return needed / (seconds * chips * chip.peak)
