"""Where every array lives: logical axis names, one table to mesh axes, and a resolver that refuses.

The mesh has three axes: `data` (copies of the model), `fsdp` (parameters cut and gathered for use;
the batch is cut along it too) and `tensor` (heads, MLP and vocabulary cut). Parameters and
activations name their dimensions; the tables below say which mesh axes cut which name. There are
two, because `embed` means two things: a parameter's model width lies cut along `fsdp`, an
activation's cannot, since its batch already is.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
from flax import nnx
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError

Tree = Any  # a pytree of arrays or of what stands for them

MESH_AXES = ("data", "fsdp", "tensor")

_CUTS_BY_TENSOR = {"vocab": ("tensor",), "heads": ("tensor",), "mlp": ("tensor",)}

# Of parameters: logical axis -> mesh axes that cut it; () leaves it whole.
RULES: Mapping[str, tuple[str, ...]] = {
    **_CUTS_BY_TENSOR,
    "layers": (),  # scanned over: every device needs every layer
    "embed": ("fsdp",),
    "head_dim": (),
    "norm": (),
    "positions": (),
    "narrow": (),  # OPT-350m's embedding, where it meets the model's width
}

# Of activations.
ACTIVATION_RULES: Mapping[str, tuple[str, ...]] = {
    **_CUTS_BY_TENSOR,
    "layers": (),
    "batch": ("data", "fsdp"),
    "length": (),
    "embed": (),
    "head_dim": (),
}

_WAYS_OUT = {
    "vocab": "set config.model.vocab_size to a multiple (rows beyond the vocabulary stay unused)",
    "batch": "give a number of rows that the mesh axes divide, or a smaller config.mesh",
}


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh `('data', 'fsdp', 'tensor')` over `devices` (all of them when None).

    One size of `config` may be -1 and takes what the others leave. Raises UserError naming the
    `config.mesh` key when the sizes do not multiply to the number of devices, or the links between
    these do not carry such a mesh.
    """
    devices = list(jax.devices() if devices is None else devices)
    shape = _mesh_shape(config, len(devices))
    try:
        return jax.make_mesh(shape, MESH_AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)
    except NotImplementedError:  # on a slice of TPUs
        sizes = ", ".join(f"{axis}={size}" for axis, size in zip(MESH_AXES, shape, strict=True))
        raise UserError(
            f"config.mesh: {sizes} cannot be laid over the slice; each axis must be the product of "
            "some of the slice's own sizes (4, 16 or 64 on 4x4x4)"
        ) from None


def _mesh_shape(config: MeshConfig, devices: int) -> tuple[int, ...]:
    sizes = {axis: getattr(config, axis) for axis in MESH_AXES}
    for axis, size in sizes.items():
        if size != -1 and size < 1:
            raise UserError(
                f"config.mesh.{axis}: {size}; give a positive number, or -1 for the rest"
            )
    free = [axis for axis, size in sizes.items() if size == -1]
    if len(free) > 1:
        named = " and ".join(f"config.mesh.{axis}" for axis in free)
        raise UserError(f"{named}: both are -1; only one axis can take the devices left over")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    shown = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
    if devices % fixed or (not free and fixed != devices):
        wanted = "divide" if free else "be"
        raise UserError(
            f"config.mesh: {shown} multiply to {fixed}, which must {wanted} the {devices} devices "
            "here; set config.mesh.data=-1 to use whatever the other axes leave"
        )
    return tuple(devices // fixed if size == -1 else size for size in sizes.values())


def spec(
    axes: Sequence[str],
    shape: Sequence[int],
    mesh: Mesh | AbstractMesh,
    name: str,
    rules: Mapping[str, tuple[str, ...]] = RULES,
) -> PartitionSpec:
    """The PartitionSpec of an array called `name` whose dimensions are `axes`, of sizes `shape`.

    Raises UserError, by name and with the numbers, when an axis is unknown, when two dimensions ask
    for the same mesh axis, or when a size is not divisible by the devices that should cut it.
    """
    if len(axes) != len(shape):
        raise UserError(f"{name}: {len(axes)} axis names {tuple(axes)} for shape {tuple(shape)}")
    taken: dict[str, str] = {}
    parts: list[tuple[str, ...] | str | None] = []
    for axis, size in zip(axes, shape, strict=True):
        if axis not in rules:
            known = ", ".join(sorted(rules))
            raise UserError(f"{name}: unknown logical axis {axis!r}; the table has {known}")
        cut = rules[axis]
        for mesh_axis in cut:
            if mesh_axis in taken:
                raise UserError(
                    f"{name}: logical axes {taken[mesh_axis]!r} and {axis!r} both ask for the "
                    f"mesh axis {mesh_axis!r}; one array can be cut only once along it"
                )
            taken[mesh_axis] = axis
        _refuse_indivisible(name, axis, size, cut, mesh)
        parts.append(None if not cut else cut[0] if len(cut) == 1 else cut)
    return PartitionSpec(*parts)


def _refuse_indivisible(
    name: str, axis: str, size: int, cut: tuple[str, ...], mesh: Mesh | AbstractMesh
) -> None:
    pieces = math.prod(mesh.shape[mesh_axis] for mesh_axis in cut)
    if size % pieces:
        way_out = _WAYS_OUT.get(axis, f"choose a config.mesh whose {'*'.join(cut)} divides {size}")
        raise UserError(
            f"{name}: its axis {axis!r} of size {size} is not divisible by {pieces}, "
            f"the devices along {'*'.join(cut)}; {way_out}"
        )


def state_shardings(state: nnx.State, mesh: Mesh) -> nnx.State:
    """The same state with a NamedSharding in place of every array (abstract arrays will do).

    Raises UserError as `spec` does, naming the parameter.
    """

    def resolve(path: tuple[Any, ...], param: nnx.Variable) -> nnx.Variable:
        shape = param.get_value().shape
        return param.replace(NamedSharding(mesh, spec(param.axes, shape, mesh, _path_name(path))))

    return nnx.map_state(resolve, state)


def abstract_model(build: Callable[[], nnx.Module], mesh: Mesh) -> tuple[nnx.GraphDef, Tree]:
    """What `build()` would make, without making it: its graph, and its parameters as shapes.

    The parameters are nested dicts of ShapeDtypeStruct that carry their shardings: the target of a
    restore and the out_shardings of an initialisation. `nnx.merge(graph, parameters)` is the model.
    """
    graph, state = nnx.split(nnx.eval_shape(build))
    placed = jax.tree.map(
        lambda array, sharding: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding),
        nnx.to_pure_dict(state),
        nnx.to_pure_dict(state_shardings(state, mesh)),
    )
    return graph, placed


def describe(state: nnx.State, mesh: Mesh) -> str:
    """One sorted line a parameter: path, shape, logical axes, what cuts them (for golden files)."""
    lines = []
    for path, param in nnx.to_flat_state(state):
        name, shape = _path_name(path), param.get_value().shape
        resolved = tuple(spec(param.axes, shape, mesh, name))
        lines.append(f"{name}  {tuple(shape)}  {tuple(param.axes)} -> {resolved}\n")
    return "".join(sorted(lines))


def _path_name(path: tuple[Any, ...]) -> str:
    return "/".join(str(part) for part in path)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of a small array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of `[B, T]` arrays of a batch: rows cut over `data` and `fsdp`, nothing else."""
    return NamedSharding(mesh, PartitionSpec(ACTIVATION_RULES["batch"], None))


def batch_cuts(mesh: Mesh | AbstractMesh) -> int:
    """Into how many pieces the rows of a batch are cut; one on an empty mesh (none in context)."""
    return math.prod(mesh.shape.get(axis, 1) for axis in ACTIVATION_RULES["batch"])


def process_rows(mesh: Mesh, rows: int) -> tuple[int, int]:
    """Which rows of a batch this process feeds: (index, count) of equal consecutive parts.

    Processes that differ only along `tensor` feed the same rows. `rows` must be divisible by
    `batch_cuts(mesh)`. Raises UserError as `process_part` does.
    """
    return process_part(_held(mesh, rows), jax.process_index())


def _held(mesh: Mesh, rows: int) -> dict[int, set[int]]:
    """Of each process, where the pieces of a batch begin that its devices hold."""
    cuts = batch_sharding(mesh).devices_indices_map((rows, 1))
    held: dict[int, set[int]] = {}
    for device in mesh.devices.flat:
        held.setdefault(device.process_index, set()).add(cuts[device][0].start or 0)
    return held


def fed_order(mesh: Mesh, rows: int) -> list[int]:
    """For each row of a batch on the mesh, its number in the order in which processes feed them.

    They differ where the devices of a process do not stand side by side in the mesh.
    """
    return order_of(_held(mesh, rows), rows)


def order_of(held: Mapping[int, Collection[int]], rows: int) -> list[int]:
    """`fed_order` of the pieces that processes hold (process -> where its pieces begin)."""
    parts = sorted({tuple(sorted(pieces)) for pieces in held.values()})
    starts = [start for part in parts for start in part]
    size = rows // len(starts)
    order = [0] * rows
    for place, start in enumerate(starts):
        order[start : start + size] = range(place * size, (place + 1) * size)
    return order


def process_part(held: Mapping[int, Collection[int]], process: int) -> tuple[int, int]:
    """(index, count) of one process among the parts that `held` (process -> its pieces) makes.

    Raises UserError where processes share some pieces of a batch and not all, or hold unequally
    many: what one process feeds would then be no part of its own.
    """
    parts = sorted({tuple(sorted(pieces)) for pieces in held.values()})
    pieces = [piece for part in parts for piece in part]
    if len(set(pieces)) < len(pieces) or len(set(map(len, parts))) > 1:
        raise UserError(
            f"config.mesh: cuts a batch unevenly over {len(held)} processes; give data*fsdp a size "
            "that their number divides, or tensor one that the devices of a process divide"
        )
    return parts.index(tuple(sorted(held[process]))), len(parts)


def constrain(x: jax.Array, axes: Sequence[str]) -> jax.Array:
    """Pins an activation to its logical `axes` on the mesh in context (`with jax.set_mesh(mesh):`).

    Without a mesh, or on one device, it returns `x` as it is. Raises UserError as `spec` does.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    named = spec(axes, x.shape, mesh, f"activation {tuple(axes)}", ACTIVATION_RULES)
    return jax.lax.with_sharding_constraint(x, named)
