"""Fused attention: exact ALiBi channels, and the real kernel compiled for absent TPUs."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import topology
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import alibi
from teacherlm_jax.models.attention import attention
from teacherlm_jax.models.attention_fused import LONGEST, with_alibi

# Prints the number of kernel calls in the program of each mesh and shape.
_COMPILE = """
import sys
import jax, jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec
from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.models import alibi
from teacherlm_jax.models.attention import attention

chips = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices

def loss(q, k, v, slopes, tokens):
    mixed = attention(q, k, v, alibi_slopes=slopes, positions=tokens, segment_ids=tokens,
                      implementation="fused")
    return jnp.sum(mixed.astype(jnp.float32))

for sizes, (N, H), biased in [((1, 1, 1), (3, 64), True), ((1, 1, 1), (2, 80), False),
                              ((1, 1, 1), (2, 96), True), ((1, 2, 2), (4, 128), True)]:
    mesh = sharding.make_mesh(MeshConfig(*sizes), chips[: sizes[0] * sizes[1] * sizes[2]])
    place = NamedSharding(mesh, PartitionSpec())
    array = jax.ShapeDtypeStruct((2, 200, N, H), jnp.bfloat16, sharding=place)
    tokens = jax.ShapeDtypeStruct((2, 200), jnp.int32, sharding=place)
    slopes = jnp.asarray(alibi.slopes(N)) if biased else None
    gradients = jax.grad(lambda q, k, v, t: loss(q, k, v, slopes, t), argnums=(0, 1, 2))
    with jax.set_mesh(mesh):
        program = jax.jit(gradients).lower(array, array, array, tokens).compile().as_text()
    print(program.count('custom_call_target="tpu_custom_call"'))
"""


@pytest.mark.parametrize("heads", [12, 16])
def test_the_channels_represent_slope_times_position_exactly(heads):
    positions = np.array([[0, 1, 255, 256, 257, 1023, 8191, 32_767, LONGEST - 1]])
    slopes = alibi.slopes(heads)
    nothing = jnp.zeros((1, positions.shape[1], heads, 4))
    q, k = with_alibi(nothing, nothing, jnp.asarray(slopes), jnp.asarray(positions))
    for channels in (q, k):
        assert (channels.astype(jnp.bfloat16).astype(channels.dtype) == channels).all()
    products = np.einsum("BTNH,BTNH->BTN", np.asarray(q, np.float64), np.asarray(k, np.float64))
    expected = slopes.astype(np.float64)[None, None] * positions[:, :, None]
    np.testing.assert_array_equal(products, expected)


def test_rows_too_long_for_exact_positions_are_refused():
    array = jax.ShapeDtypeStruct((1, LONGEST + 1, 2, 8), jnp.bfloat16)
    tokens = jax.ShapeDtypeStruct((1, LONGEST + 1), jnp.int32)
    with pytest.raises(
        UserError, match=r"65537 tokens, expected at most 65536; choose 'blockwise'"
    ):
        jax.eval_shape(
            lambda x, t: attention(
                x, x, x, alibi_slopes=None, positions=t, segment_ids=t, implementation="fused"
            ),
            array,
            tokens,
        )


def test_the_fused_kernel_without_a_tpu_is_refused_with_a_remedy():
    array, tokens = jnp.zeros((1, 128, 2, 8)), jnp.zeros((1, 128), jnp.int32)
    with pytest.raises(
        UserError, match="expected a TPU, but the program runs on cpu; choose 'bloc"
    ):
        attention(
            array,
            array,
            array,
            alibi_slopes=None,
            positions=tokens,
            segment_ids=tokens,
            implementation="fused",
        )


def test_forward_and_backward_compile_for_one_tpu_and_for_a_mesh():
    environment = topology.environment("v5litepod-16")
    if environment is None:
        pytest.skip(f"no libtpu in {topology.FOLDER}; run make setup-test to install it")
    compiled = subprocess.run(
        [sys.executable, "-c", _COMPILE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stderr[-3000:]
    # Forward, gradients of queries, gradients of keys and values.
    assert compiled.stdout.split() == ["3", "3", "3", "3"]
