"""Sharding: logical axis names, tables that map them to mesh axes, and strict resolution.

The mesh has three axes: `data` (the model is replicated), `fsdp` (parameters are sharded and
gathered for use; the batch is sharded along it, too) and `tensor` (heads, MLP and vocabulary are
sharded). Parameters and activations name their dimensions; the tables below map each name to mesh
axes. There are two tables because `embed` differs: the model width of a parameter is sharded along
`fsdp`, that of an activation is not, since its batch already is.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError

Tree = Any  # a pytree of arrays, or of abstract arrays
AnyMesh = Mesh | AbstractMesh  # an abstract mesh has no devices, and serves shapes only

MESH_AXES = ("data", "fsdp", "tensor")

_TENSOR_RULES = {"vocab": ("tensor",), "heads": ("tensor",), "mlp": ("tensor",)}

# Parameters: logical axis -> mesh axes that shard it; () replicates it.
RULES: Mapping[str, tuple[str, ...]] = {
    **_TENSOR_RULES,
    "layers": (),  # scanned over: every device needs every layer
    "embed": ("fsdp",),
    "head_dim": (),
    "norm": (),
    "positions": (),
    "narrow": (),  # width of OPT-350m's embedding
    "rank": (),  # of LoRA's adapters
    "shared": (),  # of the scale of an int8 array: one value for the whole axis
}

# Activations.
ACTIVATION_RULES: Mapping[str, tuple[str, ...]] = {
    **_TENSOR_RULES,
    "layers": (),
    "batch": ("data", "fsdp"),
    "length": (),
    "embed": (),
    "head_dim": (),
}

_REMEDIES = {
    "vocab": "set config.model.vocab_size to a multiple (rows beyond the vocabulary stay unused)",
    "batch": "use a number of rows that the mesh axes divide, or a smaller config.mesh",
}


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return the mesh `('data', 'fsdp', 'tensor')` over `devices` (None: all devices).

    One size of `config` may be -1, which means all remaining devices. Raises UserError naming the
    `config.mesh` key if the product of the sizes is not the number of devices, or if the topology
    of the slice does not support the mesh; and if this process is one of several that do not know
    of each other.
    """
    if devices is None:
        _refuse_unconnected()
        devices = jax.devices()
    devices = list(devices)
    shape = _mesh_shape(config, len(devices))
    try:
        return jax.make_mesh(shape, MESH_AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)
    except NotImplementedError:  # on a slice of TPUs
        sizes = ", ".join(f"{axis}={size}" for axis, size in zip(MESH_AXES, shape, strict=True))
        raise UserError(
            f"config.mesh: {sizes} does not fit the topology of the slice; each axis must be a "
            "product of some of its sizes (4, 16 or 64 on 4x4x4)"
        ) from None


def with_our_axes(mesh: Mesh) -> Mesh:
    """Return a mesh that somebody else made, with the kind of axes that our programs need.

    `jax.make_mesh` makes explicit axes unless it is told otherwise. Raises UserError if the names
    of the axes are not `MESH_AXES`.
    """
    if mesh.axis_names != MESH_AXES:
        raise UserError(
            f"mesh: expected the axes {', '.join(MESH_AXES)}, got {', '.join(mesh.axis_names)}; "
            "make it with sharding.make_mesh(config.MeshConfig())"
        )
    return Mesh(mesh.devices, MESH_AXES, axis_types=(AxisType.Auto,) * 3)


def abstract_mesh(config: MeshConfig, devices: int) -> AbstractMesh:
    """Return the mesh of `make_mesh` for a number of devices that need not exist."""
    return AbstractMesh(_mesh_shape(config, devices), MESH_AXES, (AxisType.Auto,) * 3)


def _refuse_unconnected() -> None:
    """Raise UserError if JAX lists devices of processes that this one is not connected to."""
    count = jax.process_count()
    if count > 1 and not jax.distributed.is_initialized():
        raise UserError(
            f"JAX has devices of {count} processes, but this one was started alone and would write "
            "into the run folder of the others; start it on all hosts with "
            "TEACHERLM_DISTRIBUTED=auto, or call jax.distributed.initialize() first"
        )


def _mesh_shape(config: MeshConfig, devices: int) -> tuple[int, ...]:
    sizes = {axis: getattr(config, axis) for axis in MESH_AXES}
    for axis, size in sizes.items():
        if size != -1 and size < 1:
            raise UserError(
                f"config.mesh.{axis}: {size}; expected a positive number, or -1 for all remaining "
                "devices"
            )
    free = [axis for axis, size in sizes.items() if size == -1]
    if len(free) > 1:
        named = " and ".join(f"config.mesh.{axis}" for axis in free)
        raise UserError(f"{named}: both are -1; only one axis can take the remaining devices")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    shown = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
    if devices % fixed or (not free and fixed != devices):
        relation = "divide" if free else "be"
        others = fixed // max(1, sizes["data"])
        remedy = (
            "set config.mesh.data=-1 to use all remaining devices"
            if not free and devices % others == 0
            else "choose sizes that divide it, such as config.mesh.fsdp=1, config.mesh.tensor=1 "
            "and config.mesh.data=-1"
        )
        raise UserError(
            f"config.mesh: the product of {shown} is {fixed}, which must {relation} the number of "
            f"devices, {devices}; {remedy}"
        )
    return tuple(devices // fixed if size == -1 else size for size in sizes.values())


def spec(
    axes: Sequence[str],
    shape: Sequence[int],
    mesh: AnyMesh,
    name: str,
    rules: Mapping[str, tuple[str, ...]] = RULES,
) -> PartitionSpec:
    """Return the PartitionSpec of an array.

    Args:
        axes: logical name of each dimension.
        shape: size of each dimension.
        mesh: the devices.
        name: name of the array, for messages.
        rules: mesh axes by logical axis.

    Raises UserError with the name and the numbers if an axis is unknown, if two dimensions use the
    same mesh axis, or if a size is not divisible by the number of devices that shard it.
    """
    if len(axes) != len(shape):
        raise UserError(f"{name}: {len(axes)} axis names {tuple(axes)} for shape {tuple(shape)}")
    used: dict[str, str] = {}
    parts: list[tuple[str, ...] | str | None] = []
    for axis, size in zip(axes, shape, strict=True):
        if axis not in rules:
            known = ", ".join(sorted(rules))
            raise UserError(f"{name}: unknown logical axis {axis!r}; known: {known}")
        mesh_axes = rules[axis]
        for mesh_axis in mesh_axes:
            if mesh_axis in used:
                raise UserError(
                    f"{name}: logical axes {used[mesh_axis]!r} and {axis!r} both use the "
                    f"mesh axis {mesh_axis!r}; it can shard only one dimension of an array"
                )
            used[mesh_axis] = axis
        _refuse_indivisible(name, axis, size, mesh_axes, mesh)
        parts.append(None if not mesh_axes else mesh_axes[0] if len(mesh_axes) == 1 else mesh_axes)
    return PartitionSpec(*parts)


def _refuse_indivisible(
    name: str, axis: str, size: int, mesh_axes: tuple[str, ...], mesh: AnyMesh
) -> None:
    pieces = math.prod(mesh.shape[mesh_axis] for mesh_axis in mesh_axes)
    if size % pieces:
        remedy = _REMEDIES.get(
            axis, f"choose a config.mesh whose {'*'.join(mesh_axes)} divides {size}"
        )
        raise UserError(
            f"{name}: axis {axis!r} of size {size} is not divisible by {pieces}, "
            f"the number of devices along {'*'.join(mesh_axes)}; {remedy}"
        )


def state_shardings(state: nnx.State, mesh: AnyMesh) -> nnx.State:
    """Return a state with a NamedSharding in place of every array, which may be abstract.

    Raises UserError as `spec` does, naming the parameter.
    """

    def resolve(path: tuple[Any, ...], param: nnx.Variable) -> nnx.Variable:
        shape = param.get_value().shape
        partition = spec(param.axes, shape, mesh, _path_name(path))
        return param.replace(value=NamedSharding(mesh, partition))

    return nnx.map_state(resolve, state)


def abstract_model(build: Callable[[], nnx.Module], mesh: AnyMesh) -> tuple[nnx.GraphDef, Tree]:
    """Return the graph and the abstract parameters of `build()`, without allocating anything.

    The parameters are nested dicts of ShapeDtypeStruct with shardings: the target of a restore, and
    the out_shardings of an initialization. `nnx.merge(graph, parameters)` is the model.
    """
    graph, state = nnx.split(nnx.eval_shape(build))
    placed = jax.tree.map(
        lambda array, sharding: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding),
        nnx.to_pure_dict(state),
        nnx.to_pure_dict(state_shardings(state, mesh)),
    )
    return graph, placed


def describe(state: nnx.State, mesh: Mesh) -> str:
    """Return a sorted line per parameter: path, shape, logical axes, mesh axes."""
    lines = []
    for path, param in nnx.to_flat_state(state):
        name, shape = _path_name(path), param.get_value().shape
        resolved = tuple(spec(param.axes, shape, mesh, name))
        lines.append(f"{name}  {tuple(shape)}  {tuple(param.axes)} -> {resolved}\n")
    return "".join(sorted(lines))


def _path_name(path: tuple[Any, ...]) -> str:
    return "/".join(str(part) for part in path)


def replicated(mesh: AnyMesh) -> NamedSharding:
    """Return the sharding of an array that is replicated on all devices."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of `[B, T]` arrays of a batch: rows over `data` and `fsdp`."""
    return NamedSharding(mesh, PartitionSpec(ACTIVATION_RULES["batch"], None))


def batch_shards(mesh: AnyMesh) -> int:
    """Return the number of shards of a batch; 1 on an empty mesh (no mesh in context)."""
    return math.prod(mesh.shape.get(axis, 1) for axis in ACTIVATION_RULES["batch"])


def refuse_uneven_batch(mesh: AnyMesh, batch_size: int, accumulate: int) -> None:
    """Raise UserError unless the mesh divides each of the `accumulate` parts of a batch evenly."""
    shards = batch_shards(mesh)
    if batch_size % (shards * accumulate):
        parts = f" times config.accumulate={accumulate}" if accumulate > 1 else ""
        tensor = mesh.size // shards
        raise UserError(
            f"config.batch_size={batch_size}: not divisible by {shards}, the devices along "
            f"config.mesh.data*fsdp{parts}; choose a multiple of {shards * accumulate}, or a "
            f"config.mesh.tensor above {tensor}, which leaves fewer of these devices"
        )


def constrain(x: Shaped[Array, "..."], axes: Sequence[str]) -> Shaped[Array, "..."]:
    """Constrain the sharding of an activation by its logical `axes` on the mesh in context.

    The mesh is set by `with jax.set_mesh(mesh):`. Without a mesh, or on one device, `x` is returned
    unchanged. Raises UserError as `spec` does.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    named = spec(axes, x.shape, mesh, f"activation {tuple(axes)}", ACTIVATION_RULES)
    return jax.lax.with_sharding_constraint(x, named)


def traced_platform() -> str:
    """Return "cpu", "gpu" or "tpu": where a program that is traced in this context will run.

    It is the platform of the mesh in context, whose devices may be absent, or of JAX's default
    devices.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def on_host(array: Shaped[Array, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return a whole array on the host.

    If it is sharded over several processes, all of them must call this.
    """
    if array.is_fully_addressable:
        return np.asarray(array)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(array, tiled=True)
