"""The published models that GPUs can train and write explanations with, by estimated memory."""

import dataclasses
from collections.abc import Callable, Iterator

from teacherlm_jax.config import (
    AnnotateConfig,
    LoraConfig,
    MeshConfig,
    PlanOptions,
    TeachersConfig,
    TrainConfig,
)
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import int8, registry
from teacherlm_jax.planning import annotation_programs, gpu_memory, gpus, topology, training_program
from teacherlm_jax.planning.advice import RANK
from teacherlm_jax.planning.gpus import GpuSet
from teacherlm_jax.wording import GIB, counted

_PARTS = 2  # of a batch: with more of them, a larger batch needs no more memory
_MOST = 1024  # rows or slots per GPU, at most
_LENGTH = annotation_programs.ASSUMED_LENGTH


@dataclasses.dataclass(frozen=True)
class Fit:
    """Memory of a model by one method on GPUs.

    Attributes:
        model: published shape.
        method: a key of METHODS.
        least: bytes per GPU with one row or slot for each of the GPUs that share a batch.
        most: largest number of rows for each of them in a part of a batch, or of slots on all
            GPUs, that fits, a power of two times the least; 0: none.
        mesh: sizes of the mesh.
    """

    model: str
    method: str
    least: float
    most: int
    mesh: MeshConfig


_Bytes = Callable[[int], float]  # bytes per GPU by rows or slots
_Prepare = Callable[[str, MeshConfig, int, int], _Bytes]  # of a model, a mesh, GPUs and a length


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to use a model.

    Attributes:
        prepare: function that returns the bytes of a model.
        noun: what a GPU holds at a time: "row" in training, or "slot".
        axis: mesh axis along which several GPUs share the parameters.
    """

    prepare: _Prepare
    noun: str
    axis: str


def _trained(lora: LoraConfig) -> Method:
    def prepare(name: str, mesh: MeshConfig, count: int, length: int) -> _Bytes:
        shards = mesh.data * mesh.fsdp
        model = registry.shape(name, attention="blockwise", remat="full")
        config = TrainConfig("runs/x", "data", model=model, lora=lora, mesh=mesh)
        config = dataclasses.replace(config, batch_size=_PARTS * shards, accumulate=_PARTS)
        run = training_program.prepare(config, count, min(length, _positions(name, length)))

        def needed(rows: int) -> float:
            larger = dataclasses.replace(run.config, batch_size=_PARTS * rows * shards)
            return sum(gpu_memory.of_training(dataclasses.replace(run, config=larger)).values())

        return needed

    return Method(prepare, "row", "fsdp")


def _explaining(weights: str) -> Method:
    def prepare(name: str, mesh: MeshConfig, count: int, length: int) -> _Bytes:
        config = AnnotateConfig("runs/x", teachers=TeachersConfig(cot="teacher"), weights=weights)
        config = dataclasses.replace(config, mesh=mesh, attention="blockwise")
        new = config.sampling.max_new_tokens
        length = min(length, _positions(name, length + new) - new)
        run = annotation_programs.prepare(config, count, length, name)

        def needed(slots: int) -> float:
            more = dataclasses.replace(run.config, slots=slots)
            return sum(gpu_memory.of_annotation(dataclasses.replace(run, config=more)).values())

        return needed

    return Method(prepare, "slot", "tensor")


def _positions(name: str, otherwise: int) -> int:
    """Return the tokens of the longest text of a model, or `otherwise` if it takes any number."""
    return registry.SHAPES[name].max_positions or otherwise


METHODS: dict[str, Method] = {
    "train all": _trained(LoraConfig()),
    "train LoRA": _trained(LoraConfig(rank=RANK)),
    "explain": _explaining(""),
    "explain in int8": _explaining(int8.NAME),
}
MODELS = tuple(
    name for name in registry.SHAPES if "tiny" not in name and not name.startswith("bloomz")
)


def overview(options: PlanOptions) -> str:
    """Return a table of the models that fit on the GPUs of `options`, and the largest of each kind.

    Raises UserError if the topology is a TPU slice.
    """
    wanted = topology.parse(options.topology)
    if not isinstance(wanted, GpuSet):
        raise UserError(
            f"--fits: works for GPUs, as in --topology=gpu:4090, but {wanted.name} is a TPU slice; "
            "plan a config for it"
        )
    length = options.length or _LENGTH
    fits = [fit(name, method, wanted, length) for method in METHODS for name in MODELS]
    rows = {name: fits[place :: len(MODELS)] for place, name in enumerate(MODELS)}
    blocks = [_conditions(wanted, length), _table(rows, wanted), _largest(rows), _commands(wanted)]
    return "\n\n".join("\n".join(block) for block in blocks)


def fit(name: str, method: str, wanted: GpuSet, length: int) -> Fit | None:
    """Return the memory of a model by a method on the mesh that needs the least; None: no mesh."""
    best: Fit | None = None
    way = METHODS[method]
    for mesh in _meshes(wanted.chips, way.axis):
        try:
            needed = way.prepare(name, mesh, wanted.chips, length)
        except UserError:  # the mesh does not divide the model
            continue
        unit = 1 if way.noun == "row" else mesh.data * mesh.fsdp
        least = needed(unit)
        if best is None or least < best.least:
            most = _largest_number(needed, unit, wanted.chip.usable * GIB)
            best = Fit(name, method, least, most, mesh)
    return best


def _meshes(count: int, axis: str) -> Iterator[MeshConfig]:
    """Yield the meshes to try: parameters shared by all GPUs along an axis, or held by each."""
    yield MeshConfig(**{"data": 1, "fsdp": 1, "tensor": 1, axis: count})
    if count > 1:
        yield MeshConfig(count, 1, 1)


def _largest_number(needed: _Bytes, unit: int, available: float) -> int:
    """Return the largest number, a power of two times `unit`, that fits; 0 if none does."""
    most, number = 0, unit
    while number <= _MOST * unit and needed(number) <= available:
        most, number = number, 2 * number
    return most


def _conditions(wanted: GpuSet, length: int) -> list[str]:
    gpu, positions = wanted.gpu, _positions("opt-125m", length)
    opt = f" (OPT: {positions})" if positions < length else ""
    new = AnnotateConfig("").sampling.max_new_tokens
    return [
        (
            f"{wanted.name}: {wanted.chips} x {gpu.kind} with {gpu.memory} GB, of which programs "
            f"get {gpu.usable:.1f} GiB with {gpus.SETTING}"
        ),
        (
            "estimated from shapes; nothing was compiled or run, and the memory may be "
            f"{gpu_memory.ERROR:.0%} off"
        ),
        (
            f"training: packed rows of {length} tokens{opt}, remat=full, attention=blockwise, "
            f"float32 parameters and AdamW; LoRA of rank {RANK} over a frozen bfloat16 model"
        ),
        (
            f"explaining: prompts of up to {length} tokens and {new} new ones, bfloat16 (for OPT, "
            "prompts as long as its positions allow)"
        ),
        (
            "GiB per GPU with one row or slot; then the most rows per GPU in a part of a batch "
            "(accumulate above 1), or slots of all GPUs, that fit (powers of two, at most "
            f"{_MOST:,} for each GPU)"
        ),
    ]


def _table(rows: dict[str, list[Fit | None]], wanted: GpuSet) -> list[str]:
    header = f"{'model':<12}" + "".join(f"{method:<24}" for method in METHODS)
    lines = [
        f"{name:<12}" + "".join(f"{_cell(one, wanted):<24}" for one in fits)
        for name, fits in rows.items()
    ]
    return [line.rstrip() for line in (header, *lines)]


def _cell(one: Fit | None, wanted: GpuSet) -> str:
    if one is None:
        return f"not over {wanted.chips} GPUs"
    if not one.most:
        return f"{one.least / GIB:.1f}: no"
    return f"{one.least / GIB:.1f}: {counted(one.most, METHODS[one.method].noun)}"


def _largest(rows: dict[str, list[Fit | None]]) -> list[str]:
    """Return a line for each method with the largest fitting model of each family."""
    lines = []
    for place, method in enumerate(METHODS):
        best: dict[str, str] = {}
        for name, fits in rows.items():  # of a family, the largest comes last
            one = fits[place]
            if one is not None and one.most:
                best[registry.SHAPES[name].family] = name
        lines.append(f"largest models, {method}: {' and '.join(best.values()) or 'none'}")
    return lines


def _commands(wanted: GpuSet) -> list[str]:
    return [
        (
            "Plan a config, with its batch, mesh and hours: "
            f"teacherlm plan --config=FILE.py --topology={wanted.name}"
        ),
    ]
