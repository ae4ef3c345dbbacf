"""The platform that a program will run on, which may be absent while it is traced."""

import jax


def traced_platform() -> str:
    """Return "cpu", "gpu" or "tpu": where a program that is traced in this context will run.

    It is the platform of the mesh in context, or of JAX's default devices.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform
