"""TPU chips and slices, with their published figures; see docs/reference/tpu-slices.md."""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from teacherlm_jax.errors import UserError
from teacherlm_jax.training.peaks import PEAKS


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of TPU chip.

    Attributes:
        name: the first part of a topology, such as "v5e".
        hbm: GiB of memory, as published.
        usable: GiB of memory that the compiler gives to a program.
        bandwidth: bytes per second between memory and cores.
        peak: bfloat16 FLOPs per second.
        links: bytes per second that the chip can send to its neighbours, over all its links.
        largest: chips of the largest slice along each dimension of its torus.
    """

    name: str
    hbm: int
    usable: float
    bandwidth: float
    peak: float
    links: float
    largest: tuple[int, ...]

    @property
    def dimensions(self) -> int:
        """Return the number of dimensions of the torus that the chips of a slice form."""
        return len(self.largest)

    @property
    def most(self) -> int:
        """Return the number of chips of the largest slice."""
        return math.prod(self.largest)


@dataclasses.dataclass(frozen=True)
class TpuSlice:
    """A TPU slice, such as v5e:8x8."""

    chip: Chip
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return the slice as the option --topology names it."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    @property
    def chips(self) -> int:
        """Return the number of chips."""
        return math.prod(self.shape)

    def larger(self) -> "TpuSlice | None":
        """Return the next larger slice of the same chip; None if this is the largest."""
        shape = list(self.shape)
        if self.chips == 1:
            shape[:2] = [2, 2]
        else:
            smallest = max(range(len(shape)), key=lambda place: (-shape[place], place))
            shape[smallest] *= 2
        return TpuSlice(self.chip, tuple(shape)) if math.prod(shape) <= self.chip.most else None

    def carries(self, axes: Sequence[int]) -> bool:
        """Return whether JAX can map mesh axes of these sizes to the slice.

        Each axis takes whole dimensions of the slice; only on v5e does JAX split a dimension.
        """
        axes = [axis for axis in axes if axis > 1]
        if self.chip.name == "v5e":
            return math.prod(axes) == self.chips
        return _carried(axes, [size for size in self.shape if size > 1])


def _carried(axes: Sequence[int], dimensions: Sequence[int]) -> bool:
    """Return whether the axes are products of disjoint sets of dimensions that use all of them."""
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
    Chip("v5e", 16, 15.75, 819e9, PEAKS["TPU v5e"], 200e9, (16, 16)),
    Chip("v5p", 95, 95.74, 2765e9, PEAKS["TPU v5p"], 600e9, (16, 16, 24)),
    Chip("v6e", 32, 31.25, 1638e9, PEAKS["TPU v6e"], 400e9, (16, 16)),
)
CHIPS: Mapping[str, Chip] = MappingProxyType({chip.name: chip for chip in _CHIPS})
_PLANES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")  # all slices of v5e and v6e
_OTHER_NAMES = {"v5litepod": "v5e", "v5lite": "v5e", "trillium": "v6e"}


def is_known(name: str) -> bool:
    """Return whether `parse` knows a chip by this name."""
    return _OTHER_NAMES.get(name, name) in CHIPS


def parse(topology: str) -> TpuSlice:
    """Return the slice of a topology such as "v5e:8x8" or "v5p:4x4x8".

    Names of Cloud TPU accelerator types, such as v5litepod, are accepted too. Raises UserError for
    an unknown chip and for a shape that no slice has.
    """
    name, _, shape = topology.strip().lower().partition(":")
    chip = CHIPS.get(_OTHER_NAMES.get(name, name))
    if chip is None:
        raise UserError(
            f"--topology={topology}: unknown chip {name!r}; expected one of {', '.join(CHIPS)}, as "
            "in --topology=v5e:8x8"
        )
    example = "x".join(["4"] * chip.dimensions)
    sizes = tuple(map(int, shape.split("x"))) if re.fullmatch(r"\d+(x\d+)*", shape) else ()
    if len(sizes) != chip.dimensions:
        raise UserError(
            f"--topology={topology}: expected {chip.dimensions} sizes for {chip.name}, as in "
            f"--topology={chip.name}:{example}"
        )
    if math.prod(sizes) > chip.most:
        raise UserError(
            f"--topology={topology}: {math.prod(sizes)} chips; the largest slice of {chip.name} "
            f"has {chip.most}, as in --topology={TpuSlice(chip, chip.largest).name}"
        )
    if chip.dimensions == 2 and "x".join(map(str, sorted(sizes))) not in _PLANES:
        raise UserError(
            f"--topology={topology}: no slice has this shape; expected one of {', '.join(_PLANES)}"
        )
    # A host of v5p has two by two chips; the only smaller slice is a single chip.
    if math.prod(sizes) != 1 and (sizes[0] % 2 or sizes[1] % 2 or 0 in sizes):
        raise UserError(
            f"--topology={topology}: no slice has this shape; the first two sizes must be even, as "
            f"in --topology={chip.name}:{example}"
        )
    return TpuSlice(chip, sizes)
