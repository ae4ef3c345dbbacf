"""The roofline of a program: a lower bound of its run time on a chip (Williams et al. 2009)."""

import dataclasses

from teacherlm_jax.planning.chips import Chip
from teacherlm_jax.planning.counts import Counts
from teacherlm_jax.planning.gpus import Gpu


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Lower bounds of the seconds of one run, by resource; at best, all three overlap.

    Attributes:
        compute: matrix products at the chip's bfloat16 peak.
        memory: HBM reads and writes at full bandwidth.
        links: bytes sent to other chips with all links busy.
    """

    compute: float
    memory: float
    links: float

    @property
    def seconds(self) -> float:
        """Return the largest of the three."""
        return max(dataclasses.astuple(self))

    @property
    def bound(self) -> str:
        """Return the limiting resource: "compute", "memory" or "links"."""
        return max(dataclasses.asdict(self).items(), key=lambda item: item[1])[0]


def roofline(counts: Counts, chip: Chip | Gpu) -> Roofline:
    """Return the roofline of a program on a chip."""
    return Roofline(
        compute=counts.flops / chip.peak,
        memory=counts.memory / chip.bandwidth,
        links=sum(counts.sent.values()) / chip.links,
    )


def intensity(counts: Counts) -> float:
    """Return the FLOPs per byte of HBM traffic."""
    return counts.flops / counts.memory if counts.memory else 0.0


def mfu_bound(needed: float, seconds: float, chips: int, chip: Chip | Gpu) -> float:
    """Return the model FLOPs utilization (arXiv 2204.02311) of `needed` FLOPs in `seconds`."""
    return needed / (seconds * chips * chip.peak)
