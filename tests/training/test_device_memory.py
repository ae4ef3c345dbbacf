import subprocess
import sys

CODE = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.training import device_memory, setup

mesh = sharding.make_mesh(MeshConfig())
for name in ("bloom-560m", "bloom-7b1"):
    model = registry.shape(name)
    spec = setup.make_model_spec(TrainConfig(), model, mesh)
    try:
        device_memory.refuse_too_large(spec.abstract, mesh)
        print(name, "fits")
    except UserError as error:
        print(name, error)
"""


def test_a_model_too_large_for_the_address_space_is_refused_with_sizes(one_device):
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=one_device, check=True
    )
    small, large = done.stdout.splitlines()
    assert small == "bloom-560m fits"
    assert "parameters 26.3, optimizer 52.7, gradients 26.3" in large
    assert "has 16.0 GiB" in large and "config.mesh.fsdp over at least 8 such devices" in large
