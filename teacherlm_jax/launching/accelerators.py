"""Accelerator types that Cloud TPU offers, such as v5litepod-16.

Sizes are chips for v5e and v6e, and cores (two per chip) for the others. Source: the Cloud TPU
documentation's page of each version.
"""

from teacherlm_jax.errors import UserError

_SMALL = (1, 4, 8, 16, 32, 64, 128, 256)
_SIZES: dict[str, tuple[int, ...]] = {
    "v2": (8, 32, 128, 256, 512),
    "v3": (8, 32, 64, 128, 256, 512, 1024, 2048),
    "v4": tuple(range(8, 8193, 8)),
    "v5litepod": _SMALL,
    "v5p": tuple(range(8, 12289, 8)),
    "v6e": _SMALL,
}
_LISTED = 8  # sizes that a message lists


def require_known(name: str) -> None:
    """Raise UserError unless `name` is an accelerator type, with the nearest one that exists."""
    version, _, size = name.partition("-")
    sizes = _SIZES.get(version)
    if sizes is None:
        raise UserError(
            f"--accelerator_type={name}: unknown TPU version {version!r}; known: "
            f"{', '.join(_SIZES)}, as in --accelerator_type=v5litepod-64"
        )
    if size.isdecimal() and int(size) in sizes:
        return
    number = int(size) if size.isdecimal() else sizes[0]
    nearest = min(sizes, key=lambda known: abs(known - number))
    if len(sizes) > _LISTED:
        shown = f"multiples of 8 up to {sizes[-1]}"
    else:
        shown = ", ".join(map(str, sizes))
    raise UserError(
        f"--accelerator_type={name}: no such slice; sizes of {version}: {shown}; the nearest is "
        f"{version}-{nearest}"
    )
