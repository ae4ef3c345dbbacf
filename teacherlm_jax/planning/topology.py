"""The option --topology: a slice of TPUs, or GPUs."""

from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import chips, gpus
from teacherlm_jax.planning.chips import TpuSlice
from teacherlm_jax.planning.gpus import GpuSet

Topology = TpuSlice | GpuSet


def parse(topology: str) -> Topology:
    """Return what a topology such as "v5e:8x8" or "gpu:h100x8" names.

    Raises UserError for an unknown chip, and for a shape or a number that no slice or machine has.
    """
    given = topology.strip().lower()
    if given.startswith(gpus.PREFIX):
        return gpus.parse(topology)
    name = given.partition(":")[0]
    gpu = gpus.named(name) or gpus.named(name.rpartition("x")[0])
    if gpu is not None:
        raise UserError(
            f"--topology={topology}: a GPU; expected {gpus.PREFIX} before its name, and xN after "
            f"it for N of them, as in --topology={gpus.PREFIX}{gpu.name}x8"
        )
    if not chips.is_known(name):
        raise UserError(
            f"--topology={topology}: unknown chip {name!r}; expected a TPU "
            f"({', '.join(chips.CHIPS)}), as in --topology=v5e:8x8, or a GPU "
            f"({', '.join(gpus.GPUS)}), as in --topology=gpu:h100x8"
        )
    return chips.parse(topology)


def unit(wanted: Topology) -> str:
    """Return the word for one of the devices, "chip" or "GPU"."""
    return "GPU" if isinstance(wanted, GpuSet) else "chip"
