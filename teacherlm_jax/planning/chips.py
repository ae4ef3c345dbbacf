"""TPU chips and slices of them by name, with the figures that their makers publish.

Where each figure stands in public is said in docs/reference/tpu-slices.md.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from teacherlm_jax.errors import UserError
from teacherlm_jax.training.flops import PEAKS

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        name: as a topology begins with it.
        hbm: GiB of memory, as published.
        usable: GiB of it that the compiler lets a program have.
        bandwidth: bytes a second between that memory and the cores.
        peak: bfloat16 floating-point operations a second.
        links: bytes a second that the chip can send to its neighbours, over all its links.
        dimensions: of the torus that the chips of a slice form.
        most: chips of the largest slice.
    """

    name: str
    hbm: int
    usable: float
    bandwidth: float
    peak: float
    links: float
    dimensions: int
    most: int


@dataclasses.dataclass(frozen=True)
class TpuSlice:
    """Some chips that are linked with each other, such as v5e:8x8."""

    chip: Chip
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """As the option --topology has it."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    @property
    def chips(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    def carries(self, axes: Sequence[int]) -> bool:
        """Whether JAX lays mesh axes of these sizes over the slice.

        Each takes some of the slice's own dimensions whole; only on v5e does JAX split them.
        """
        axes = [axis for axis in axes if axis > 1]
        if self.chip.name == "v5e":
            return math.prod(axes) == self.chips
        return _carried(axes, [size for size in self.shape if size > 1])


def _carried(axes: Sequence[int], dimensions: Sequence[int]) -> bool:
    """Whether each axis is the product of dimensions of its own, none being left."""
    if not axes:
        return not dimensions
    for count in range(1, len(dimensions) + 1):
        for taken in itertools.combinations(range(len(dimensions)), count):
            rest = [size for place, size in enumerate(dimensions) if place not in taken]
            whole = math.prod(dimensions[place] for place in taken) == axes[0]
            if whole and _carried(axes[1:], rest):
                return True
    return False


_CHIPS = (
    Chip("v5e", 16, 15.75, 819e9, PEAKS["TPU v5e"], 200e9, 2, 256),
    Chip("v5p", 95, 95.74, 2765e9, PEAKS["TPU v5p"], 600e9, 3, 6144),
    Chip("v6e", 32, 31.25, 1638e9, PEAKS["TPU v6e"], 400e9, 2, 256),
)
CHIPS: Mapping[str, Chip] = MappingProxyType({chip.name: chip for chip in _CHIPS})
_OTHER_NAMES = {"v5litepod": "v5e", "v5lite": "v5e", "trillium": "v6e"}


def parse(topology: str) -> TpuSlice:
    """The slice that a topology such as "v5e:8x8" or "v5p:4x4x8" names.

    The names that Cloud TPUs are asked for by (v5litepod) are understood too. Raises UserError for
    an unknown chip or a shape that no slice of it has.
    """
    name, _, shape = topology.strip().lower().partition(":")
    chip = CHIPS.get(_OTHER_NAMES.get(name, name))
    if chip is None:
        raise UserError(
            f"--topology={topology}: no chip is named {name!r}; known: {', '.join(CHIPS)}, as in "
            "--topology=v5e:8x8"
        )
    example = "x".join(["4"] * chip.dimensions)
    sizes = tuple(map(int, shape.split("x"))) if re.fullmatch(r"\d+(x\d+)*", shape) else ()
    if len(sizes) != chip.dimensions:
        raise UserError(
            f"--topology={topology}: wanted {chip.dimensions} sizes for {chip.name}, as in "
            f"--topology={chip.name}:{example}"
        )
    # Hosts hold two by two chips; a single chip is the one slice that is less than that.
    if math.prod(sizes) != 1 and (sizes[0] % 2 or sizes[1] % 2 or 0 in sizes):
        raise UserError(
            f"--topology={topology}: no slice has this shape; the first two sizes are even, as in "
            f"--topology={chip.name}:{example}"
        )
    if math.prod(sizes) > chip.most:
        raise UserError(
            f"--topology={topology}: {math.prod(sizes)} chips; the largest slice of {chip.name} "
            f"has {chip.most}"
        )
    return TpuSlice(chip, sizes)
