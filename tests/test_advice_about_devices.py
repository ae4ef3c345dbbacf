"""Advice in messages about meshes, shardings and the memory of devices, followed."""

import dataclasses
import itertools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from teacherlm_jax import capacity, sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.training import fed_rows


def refusal(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    return str(raised.value)


@pytest.mark.parametrize("size", [1, 8, -1])
def test_a_mesh_is_made_with_a_positive_number_or_all_remaining_devices(size):
    message = refusal(sharding.make_mesh, MeshConfig(fsdp=0))
    assert message.endswith("expected a positive number, or -1 for all remaining devices")
    data = 1 if size == -1 else -1
    assert sharding.make_mesh(MeshConfig(data=data, fsdp=size)).size == 8


@pytest.mark.parametrize("axis", ["data", "fsdp"])
def test_a_mesh_is_made_if_only_one_axis_takes_the_remaining_devices(axis):
    both = MeshConfig(data=-1, fsdp=-1)
    assert refusal(sharding.make_mesh, both).endswith(
        "only one axis can take the remaining devices"
    )
    assert sharding.make_mesh(dataclasses.replace(both, **{axis: 1})).size == 8


@pytest.fixture
def pod(monkeypatch):
    """64 simulated chips of a v4-4x4x4, on which JAX itself decides which meshes fit."""
    chips = [
        SimpleNamespace(
            id=id,
            process_index=0,
            platform="tpu",
            device_kind="TPU v4",
            coords=coords,
            core_on_chip=0,
            slice_index=0,
        )
        for id, coords in enumerate(itertools.product(range(4), repeat=3))
    ]

    def make_mesh(shape, names, axis_types, devices):
        return mesh_utils.create_device_mesh(shape, devices)

    monkeypatch.setattr(jax, "make_mesh", make_mesh)
    return chips


def test_every_mesh_of_the_sizes_that_a_message_names_fits_the_slice(pod):
    message = refusal(sharding.make_mesh, MeshConfig(data=2, fsdp=32), pod)
    sizes = [1, *map(int, re.search(r"\((\d+), (\d+) or (\d+) on 4x4x4\)$", message).groups())]
    meshes = [each for each in itertools.product(sizes, repeat=2) if 64 % (each[0] * each[1]) == 0]
    assert len(meshes) == 10
    for data, fsdp in meshes:
        assert sharding.make_mesh(MeshConfig(data, fsdp, tensor=-1), pod).size == 64


MESH = AbstractMesh((2, 2, 2), sharding.MESH_AXES)


def spec(axes, shape, mesh=MESH, rules=sharding.RULES):
    return sharding.spec(axes, shape, mesh, "array", rules)


def test_every_logical_axis_that_a_message_lists_is_known():
    known = refusal(spec, ("width",), (8,)).partition("; known: ")[2].split(", ")
    assert set(known) == set(sharding.RULES)
    for axis in known:
        assert len(spec((axis,), (8,))) == 1


def test_an_array_is_sharded_after_the_mesh_is_one_that_divides_its_size():
    message = refusal(spec, ("embed", "mlp"), (4, 7))
    axis, size = re.search(r"choose a config\.mesh whose (\w+) divides (\d+)$", message).groups()
    for divisor in (1, int(size)):
        sizes = {"data": 2, "fsdp": 2, "tensor": 2} | {axis: divisor}
        mesh = AbstractMesh(tuple(sizes.values()), tuple(sizes))
        assert spec(("embed", "mlp"), (4, 7), mesh) == PartitionSpec("fsdp", "tensor")


def test_a_vocabulary_is_sharded_after_its_size_is_a_multiple_of_the_devices():
    message = refusal(spec, ("vocab",), (33,))
    pieces = int(re.search(r"not divisible by (\d+), .*vocab_size to a multiple", message)[1])
    assert spec(("vocab",), (33 + pieces - 33 % pieces,)) == PartitionSpec("tensor")


def test_a_batch_is_sharded_with_other_rows_or_a_smaller_mesh():
    def shard(rows, mesh=MESH):
        return spec(("batch",), (rows,), mesh, sharding.ACTIVATION_RULES)

    message = refusal(shard, 6)
    assert message.endswith("that the mesh axes divide, or a smaller config.mesh")
    pieces = int(re.search(r"not divisible by (\d+), the number of devices along", message)[1])
    assert shard(2 * pieces) == shard(6, AbstractMesh((1, 2, 2), sharding.MESH_AXES))


def test_processes_feed_equal_parts_after_each_remedy():
    """Three processes hold four devices each of a mesh of data*fsdp times tensor."""

    def part(pieces, tensor, *processes):
        rows = [piece for piece in range(pieces) for _ in range(tensor)]
        held = {}
        for process, count in enumerate(processes):
            held[process], rows = set(rows[:count]), rows[count:]
        assert not rows
        return fed_rows.process_part(held, 0)[1]

    message = refusal(part, 4, 3, 4, 4, 4)
    assert (
        "a size of data*fsdp that is divisible by their number, or a size of tensor that div"
        in (message)
    )
    assert part(3, 4, 4, 4, 4) == 3
    assert part(6, 2, 4, 4, 4) == 3  # and tensor=2 divides the four devices of a process


def refuse_too_large(size, limit, monkeypatch):
    mesh = sharding.make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    placed = NamedSharding(mesh, PartitionSpec())
    parameters = {"weight": jax.ShapeDtypeStruct((size,), jnp.float32, sharding=placed)}
    monkeypatch.setattr(capacity, "available", lambda device: limit)
    capacity.refuse_too_large("model", parameters, mesh, convertible=False)


@pytest.mark.parametrize("remedy", [(512, 4095), (1024, 8192)])
def test_parameters_fit_if_the_model_is_smaller_or_the_machine_has_more_memory(remedy, monkeypatch):
    """Accelerators: see test_capacity.py; conversion to bfloat16: see hf/test_any_model.py."""
    message = refusal(refuse_too_large, 1024, 4095, monkeypatch)
    assert message.endswith("GiB; use a smaller model, or use a machine with more memory")
    refuse_too_large(*remedy, monkeypatch)
