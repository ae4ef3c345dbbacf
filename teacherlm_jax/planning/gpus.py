"""NVIDIA GPUs by name, with their published figures; see docs/reference/gpus.md.

Peaks are dense bfloat16 and int8, half of what the data sheets print with sparsity, and those with
float32 accumulation where a sheet has both. Links are in one direction, half of the published sum.

    4090  NVIDIA Ada GPU Architecture, whitepaper, appendix A; 64 GB/s of PCIe 4.0 x16
    l4    NVIDIA L4 data sheet: 242 TFLOP/s and 485 TOP/s with sparsity; 64 GB/s of PCIe 4.0 x16
    a100  NVIDIA A100 data sheet, SXM4: 624 TFLOP/s and 1,248 TOP/s with sparsity; 600 GB/s of
          NVLink; DGX A100: a port of 200 Gb/s for each GPU
    h100  NVIDIA H100 data sheet, SXM5: 1,979 TFLOP/s and 3,958 TOP/s with sparsity; 900 GB/s of
          NVLink; DGX H100: a port of 400 Gb/s for each GPU
    h200  NVIDIA H200 data sheet, SXM5: as h100, with 141 GB and 4.8 TB/s

CUDA reports less memory than there is, because the driver keeps some. Out-of-memory messages of
PyTorch have its figure as the "total capacity": 23.64 GiB on 4090, 39.4 to 39.6 on a100-40gb, 79.15
to 79.33 on a100, 79.11 on h100. For l4 and h200, about as much as the driver keeps on h100, 0.5 and
0.6 GiB, is subtracted from the 23,034 and 143,771 MiB that nvidia-smi prints.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from teacherlm_jax.errors import UserError
from teacherlm_jax.training.peaks import PEAKS

PREFIX = "gpu:"  # of a topology that names GPUs
FRACTION = 0.92  # of the memory, which plans assume that JAX takes
DEFAULT_FRACTION = 0.75  # of the memory, which JAX takes by default
SETTING = f"XLA_CLIENT_MEM_FRACTION={FRACTION}"
MACHINE = 8  # maximum number of GPUs in one machine


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: its name in a topology, such as "h100".
        kind: beginning of `device_kind` in JAX.
        memory: GB, as published.
        reported: GiB that CUDA reports.
        peak: dense bfloat16 FLOPs per second.
        int8: dense int8 operations per second.
        bandwidth: bytes per second between memory and cores.
        links: bytes per second that the GPU can send to others in its machine.
        network: bytes per second that it can send to other machines; 0: no such network is usual.
    """

    name: str
    kind: str
    memory: int
    reported: float
    peak: float
    int8: float
    bandwidth: float
    links: float
    network: float

    def names(self, device_kind: str) -> bool:
        """Return whether JAX gives devices of this kind such a name, as in "NVIDIA H100 80GB HBM3".

        Other cards have longer names that begin alike, as "NVIDIA L40S" and "NVIDIA H100 PCIe".
        """
        return re.fullmatch(rf"{re.escape(self.kind)}( \d+GB\b.*)?", device_kind) is not None

    @property
    def usable(self) -> float:
        """Return the GiB of a program, if JAX takes FRACTION of the memory."""
        return FRACTION * self.reported


@dataclasses.dataclass(frozen=True)
class GpuSet:
    """Equal GPUs, such as gpu:h100x8.

    Attributes:
        gpu: their kind.
        chips: their number.
    """

    gpu: Gpu
    chips: int

    @property
    def name(self) -> str:
        """Return the GPUs as the option --topology names them."""
        return f"{PREFIX}{self.gpu.name}" + (f"x{self.chips}" if self.chips > 1 else "")

    @property
    def chip(self) -> Gpu:
        """Return the GPU, whose links are the network if there are several machines."""
        one_machine = self.chips <= MACHINE
        return self.gpu if one_machine else dataclasses.replace(self.gpu, links=self.gpu.network)

    def larger(self) -> "GpuSet | None":
        """Return twice as many GPUs; None if they would need a network that is not usual."""
        twice = GpuSet(self.gpu, 2 * self.chips)
        return None if _problem(twice.gpu, twice.chips) else twice

    def carries(self, axes: Sequence[int]) -> bool:
        """Return whether mesh axes of these sizes use all GPUs; any GPU reaches any other."""
        return math.prod(axes) == self.chips


_GPUS = (
    Gpu(
        *("4090", "NVIDIA GeForce RTX 4090", 24, 23.6),
        *(PEAKS["NVIDIA GeForce RTX 4090"], 660.6e12, 1008e9, 32e9, 0.0),
    ),
    Gpu("l4", "NVIDIA L4", 24, 22.0, PEAKS["NVIDIA L4"], 242e12, 300e9, 32e9, 0.0),
    Gpu(
        *("a100-40gb", "NVIDIA A100-SXM4-40GB", 40, 39.4),
        *(PEAKS["NVIDIA A100"], 624e12, 1555e9, 300e9, 25e9),
    ),
    Gpu(
        *("a100", "NVIDIA A100-SXM4-80GB", 80, 79.1),
        *(PEAKS["NVIDIA A100"], 624e12, 2039e9, 300e9, 25e9),
    ),
    Gpu("h100", "NVIDIA H100", 80, 79.1, PEAKS["NVIDIA H100"], 1979e12, 3350e9, 450e9, 50e9),
    Gpu("h200", "NVIDIA H200", 141, 139.8, PEAKS["NVIDIA H200"], 1979e12, 4800e9, 450e9, 50e9),
)
GPUS: Mapping[str, Gpu] = MappingProxyType({gpu.name: gpu for gpu in _GPUS})
_OTHER_NAMES = {"rtx4090": "4090", "a100-80gb": "a100", "h100-80gb": "h100", "h200-141gb": "h200"}
_EXAMPLE = f"--topology={PREFIX}h100x8"


def named(name: str) -> Gpu | None:
    """Return the GPU of a name, which may be one that clouds use, such as a100-80gb; else None."""
    return GPUS.get(_OTHER_NAMES.get(name, name))


def parse(topology: str) -> GpuSet:
    """Return the GPUs of a topology such as "gpu:4090" or "gpu:h100x8".

    Raises UserError for an unknown GPU, and for a number that no machines have.
    """
    given = topology.strip().lower().removeprefix(PREFIX)
    gpu, count = named(given), 1
    if gpu is None and (match := re.fullmatch(r"(.+?)x(\d+)", given)):
        gpu, count = named(match[1]), int(match[2])
        given = match[1]
    if gpu is None:
        raise UserError(
            f"--topology={topology}: unknown GPU {given!r}; expected one of {', '.join(GPUS)}, and "
            f"xN after it for N of them, as in {_EXAMPLE}"
        )
    if problem := _problem(gpu, count):
        raise UserError(f"--topology={topology}: {problem}")
    return GpuSet(gpu, count)


def _problem(gpu: Gpu, count: int) -> str:
    """Return why no machines have this number of GPUs; empty if some have."""
    if count < 1:
        return f"{count} GPUs; expected at least one, as in --topology={PREFIX}{gpu.name}"
    if count <= MACHINE:
        return ""
    most = f"--topology={PREFIX}{gpu.name}x{MACHINE}"
    if not gpu.network:
        return f"{count} GPUs; expected at most {MACHINE}, those of one machine, as in {most}"
    if count % MACHINE:
        return (
            f"{count} GPUs; expected at most {MACHINE}, those of one machine, or a multiple of "
            f"{MACHINE}, as in --topology={PREFIX}{gpu.name}x{2 * MACHINE}"
        )
    return ""
