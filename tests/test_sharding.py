import dataclasses
import itertools
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AbstractDevice, AbstractMesh, NamedSharding, PartitionSpec

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry

GOLDEN = pathlib.Path(__file__).parent / "golden"
MESH = AbstractMesh((2, 2, 2), sharding.MESH_AXES)


def abstract_model(**changes) -> nnx.State:
    config = ModelConfig(**{"layers": 3, "width": 16, "heads": 4, "vocab_size": 48} | changes)
    return nnx.split(nnx.eval_shape(lambda: registry.build(config, nnx.Rngs(0))))[1]


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(data=1, fsdp=-1), (1, 8, 1)),
        (MeshConfig(data=2, fsdp=2, tensor=2), (2, 2, 2)),
        (MeshConfig(data=2, fsdp=1, tensor=-1), (2, 1, 4)),
    ],
)
def test_minus_one_takes_the_remaining_devices(config, shape):
    mesh = sharding.make_mesh(config)
    assert mesh.devices.shape == shape
    assert mesh.axis_names == ("data", "fsdp", "tensor")


def test_an_abstract_mesh_has_the_axes_of_a_real_one():
    mesh = sharding.abstract_mesh(MeshConfig(data=2, fsdp=-1), 8)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4, "tensor": 1}
    assert mesh.axis_types == sharding.make_mesh(MeshConfig(data=2, fsdp=-1)).axis_types


def test_the_platform_of_a_traced_program_is_that_of_the_mesh():
    assert sharding.traced_platform() == "cpu"
    device = AbstractDevice(device_kind="TPU v5e", num_cores=None, platform="tpu")
    with jax.sharding.use_abstract_mesh(MESH.update(abstract_device=device)):
        assert sharding.traced_platform() == "tpu"


def test_devices_of_processes_that_are_not_connected_are_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(UserError, match="JAX has devices of 4 processes, but this one was started"):
        sharding.make_mesh(MeshConfig())
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    sharding.make_mesh(MeshConfig())


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        (MeshConfig(data=3, fsdp=2), "set config.mesh.data=-1 to use all remaining devices"),
        (MeshConfig(data=16, tensor=4), "set config.mesh.data=-1 to use all remaining devices"),
        (MeshConfig(data=2, fsdp=3), "choose sizes that divide it"),
        (MeshConfig(data=-1, fsdp=3), "choose sizes that divide it"),
    ],
)
def test_data_is_proposed_for_the_remaining_devices_if_the_other_axes_divide_them(config, remedy):
    with pytest.raises(UserError, match=f"8; {remedy}"):
        sharding.make_mesh(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MeshConfig(data=-1, fsdp=-1), "config.mesh.data and config.mesh.fsdp: both are -1"),
        (MeshConfig(data=3), "is 3, which must be the number of devices, 8"),
        (MeshConfig(data=4), "is 4, which must be the number of devices, 8"),
        (MeshConfig(fsdp=3), "is 3, which must divide the number of devices, 8"),
        (MeshConfig(tensor=0), "config.mesh.tensor: 0"),
        (MeshConfig(fsdp=-2), "config.mesh.fsdp: -2"),
    ],
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused_by_key(config, message):
    with pytest.raises(UserError, match=message):
        sharding.make_mesh(config)


SIZES = (-1, 1, 2, 3, 4, 16)


@pytest.mark.parametrize("data", SIZES)
def test_the_sizes_that_a_refusal_names_fit_the_devices(data):
    refusals = 0
    for fsdp, tensor in itertools.product(SIZES, SIZES):
        if (data, fsdp, tensor).count(-1) > 1:
            continue
        config = MeshConfig(data, fsdp, tensor)
        try:
            sharding.make_mesh(config)
        except UserError as error:
            refusals += 1
            sizes = re.findall(r"config\.mesh\.(\w+)=(-?\d+)", str(error))
            named = {axis: int(size) for axis, size in sizes}
            sharding.make_mesh(dataclasses.replace(config, **named))
    assert refusals


def test_a_slice_that_cannot_carry_the_mesh_is_refused_with_the_sizes(monkeypatch):
    def refuse(*arguments, **settings):
        raise NotImplementedError("Failed to find assignment for logical_axis_index 1")

    monkeypatch.setattr(jax, "make_mesh", refuse)
    with pytest.raises(UserError, match="data=2, fsdp=4, tensor=1 .*4, 16 or 64 on 4x4x4"):
        sharding.make_mesh(MeshConfig(data=2, fsdp=4))


OPT = {"family": "opt", "max_positions": 30}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("bloom", {}),
        ("opt", {**OPT, "tied": False}),
        ("opt_350m", {**OPT, "embedding_width": 8, "norm": "after"}),
    ],
)
def test_the_sharding_of_every_parameter_equals_the_golden_file(name, changes):
    mesh = sharding.make_mesh(MeshConfig(2, 2, 2))
    expected = (GOLDEN / f"{name}_2x2x2.txt").read_text(encoding="utf-8")
    assert sharding.describe(abstract_model(**changes), mesh) == expected


@pytest.mark.parametrize(
    ("name", "shape"),
    [("bloom-7b1", (1, 64, 1)), ("bloom-176b", (1, 32, 8)), ("opt-6.7b", (2, 8, 2))],
)
def test_published_sizes_are_sharded_on_a_pod_as_in_the_golden_files(name, shape):
    mesh = AbstractMesh(shape, sharding.MESH_AXES)
    state = abstract_model(**vars(registry.shape(name)))
    expected = GOLDEN / f"{name}_{'x'.join(map(str, shape))}.txt"
    assert sharding.describe(state, mesh) == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("axes", "shape", "message"),
    [
        (("embed", "width"), (4, 4), "blocks/up: unknown logical axis 'width'"),
        (("heads", "mlp"), (4, 4), "'heads' and 'mlp' both use the mesh axis 'tensor'"),
        (("embed", "mlp"), (4, 7), "axis 'mlp' of size 7 is not divisible by 2"),
        (("vocab", "embed"), (33, 4), "size 33 is not divisible by 2.*config.model.vocab_size"),
        (("embed",), (4, 4), "blocks/up: 1 axis names"),
    ],
)
def test_axes_that_cannot_be_sharded_are_refused_with_name_and_numbers(axes, shape, message):
    with pytest.raises(UserError, match=message) as refusal:
        sharding.spec(axes, shape, MESH, "blocks/up")
    assert str(refusal.value).startswith("blocks/up")


@given(
    axes=st.lists(st.sampled_from(sorted(sharding.RULES)), max_size=4),
    sizes=st.lists(st.integers(1, 12), min_size=4, max_size=4),
)
def test_a_resolved_array_can_be_sharded_and_a_refused_one_cannot(axes, sizes):
    shape = tuple(sizes[: len(axes)])
    requested = [axis for name in axes for axis in sharding.RULES[name]]
    fits = len(set(requested)) == len(requested) and all(
        size % 2 ** len(sharding.RULES[name]) == 0 for name, size in zip(axes, shape, strict=True)
    )
    if not fits:
        with pytest.raises(UserError):
            sharding.spec(axes, shape, MESH, "array")
        return
    resolved = NamedSharding(MESH, sharding.spec(axes, shape, MESH, "array"))
    expected = [size // 2 ** len(sharding.RULES[n]) for n, size in zip(axes, shape, strict=True)]
    assert list(resolved.shard_shape(shape)) == expected


def test_a_vocabulary_that_tensor_does_not_divide_is_refused_with_a_remedy():
    mesh = sharding.make_mesh(MeshConfig(tensor=8))
    with pytest.raises(UserError, match="embedding.*size 44 .* by 8.*config.model.vocab_size"):
        sharding.state_shardings(abstract_model(vocab_size=44, heads=8), mesh)


def test_activations_are_constrained_under_a_mesh_and_unchanged_without():
    x = jnp.zeros((8, 3, 4))
    axes = ("batch", "length", "embed")
    assert sharding.constrain(x, axes) is x
    with jax.set_mesh(sharding.make_mesh(MeshConfig(2, 2, 2))):
        pinned = jax.jit(lambda x: sharding.constrain(x, axes))(x)
        assert pinned.sharding.spec == PartitionSpec(("data", "fsdp"))
        with pytest.raises(UserError, match="axis 'batch' of size 6 is not divisible by 4"):
            sharding.constrain(x[:6], axes)


def test_one_device_adds_no_constraints_and_no_mesh_means_one_batch_shard():
    x = jnp.zeros((8, 3, 4))
    assert sharding.batch_shards(jax.sharding.get_abstract_mesh()) == 1
    with jax.set_mesh(sharding.make_mesh(MeshConfig(), jax.devices()[:1])):
        assert sharding.constrain(x, ("batch", "length", "embed")) is x
