"""Accelerator types that the launcher for Cloud TPU VMs requests: v5e and v6e slices.

The number is that of chips. Source: the Cloud TPU documentation's page of each version.
"""

from teacherlm_jax.errors import UserError

_VERSIONS = ("v5litepod", "v6e")
_SIZES = (1, 4, 8, 16, 32, 64, 128, 256)


def chips_of(name: str) -> int:
    """Return the number of chips, each of which is one JAX device, of an accelerator type."""
    return int(name.partition("-")[2])


def require_known(name: str) -> None:
    """Raise UserError unless `name` is an accelerator type, with the nearest one that exists."""
    version, _, size = name.partition("-")
    if version not in _VERSIONS:
        raise UserError(
            f"--accelerator_type={name}: expected {' or '.join(_VERSIONS)}, as in "
            "--accelerator_type=v5litepod-64; for other TPUs use launch/gke.py"
        )
    number = int(size) if size.isdecimal() else 0
    if number not in _SIZES:
        nearest = min(_SIZES, key=lambda known: abs(known - number))
        raise UserError(
            f"--accelerator_type={name}: no such slice; sizes of {version}: "
            f"{', '.join(map(str, _SIZES))}; the nearest is {version}-{nearest}"
        )
