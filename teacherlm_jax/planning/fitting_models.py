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
from teacherlm_jax.planning.chips import GIB
from teacherlm_jax.planning.gpus import GpuSet

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
_Method = Callable[[str, MeshConfig, int, int], _Bytes]  # of a model, a mesh, GPUs and a length


def _trained(lora: LoraConfig) -> _Method:
    def prepare(name: str, mesh: MeshConfig, count: int, length: int) -> _Bytes:
        shards = mesh.data * mesh.fsdp
        model = registry.shape(name, attention="blockwise", remat="full")
        config = TrainConfig("runs/x", "data", model=model, lora=lora, mesh=mesh)
        config = dataclasses.replace(config, batch_size=_PARTS * shards, accumulate=_PARTS)
        run = training_program.prepare(config, count, length)

        def needed(rows: int) -> float:
            larger = dataclasses.replace(run.config, batch_size=_PARTS * rows * shards)
            return sum(gpu_memory.of_training(dataclasses.replace(run, config=larger)).values())

        return needed

    return prepare


def _explaining(weights: str) -> _Method:
    def prepare(name: str, mesh: MeshConfig, count: int, length: int) -> _Bytes:
        config = AnnotateConfig("runs/x", teachers=TeachersConfig(cot="teacher"), weights=weights)
        config = dataclasses.replace(config, mesh=mesh, attention="blockwise")
        if positions := registry.SHAPES[name].max_positions:
            length = min(length, positions - config.sampling.max_new_tokens)
        run = annotation_programs.prepare(config, count, length, name)

        def needed(slots: int) -> float:
            more = dataclasses.replace(run.config, slots=slots)
            return sum(gpu_memory.of_annotation(dataclasses.replace(run, config=more)).values())

        return needed

    return prepare


METHODS: dict[str, _Method] = {
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
    for mesh in _meshes(wanted.chips, method):
        try:
            needed = METHODS[method](name, mesh, wanted.chips, length)
        except UserError:  # the mesh does not divide the model
            continue
        shards = mesh.data * mesh.fsdp
        unit = 1 if method.startswith("train") else shards
        least = needed(unit)
        if best is None or least < best.least:
            most = _largest_number(needed, unit, wanted.chip.usable * GIB)
            best = Fit(name, method, least, most, mesh)
    return best


def _meshes(count: int, method: str) -> Iterator[MeshConfig]:
    """Yield the meshes to try: training shards parameters along `fsdp`, generation `tensor`."""
    yield MeshConfig(1, count, 1) if method.startswith("train") else MeshConfig(1, 1, count)
    if count > 1:
        yield MeshConfig(count, 1, 1)


def _largest_number(needed: _Bytes, unit: int, available: float) -> int:
    """Return the largest number, a power of two times `unit`, that fits; 0 if none does."""
    most, number = 0, unit
    while number <= _MOST * unit and needed(number) <= available:
        most, number = number, 2 * number
    return most


def _conditions(wanted: GpuSet, length: int) -> list[str]:
    gpu = wanted.gpu
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
            f"training: packed rows of {length} tokens, remat=full, attention=blockwise, float32 "
            f"parameters and AdamW; LoRA of rank {RANK} over a frozen bfloat16 model"
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
    thing = "rows" if one.method.startswith("train") else "slots"
    return f"{one.least / GIB:.1f}: {one.most} {thing if one.most > 1 else thing[:-1]}"


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
