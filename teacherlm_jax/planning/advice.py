"""Settings to change if a program does not fit into memory."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from teacherlm_jax.config import LoraConfig, MeshConfig, TrainConfig
from teacherlm_jax.models import int8
from teacherlm_jax.planning import chips, gpus, memory
from teacherlm_jax.planning.annotation_programs import PlannedAnnotation
from teacherlm_jax.planning.gpus import GpuSet
from teacherlm_jax.planning.topology import Topology, unit
from teacherlm_jax.planning.training_program import PlannedTraining, bytes_of
from teacherlm_jax.wording import GIB

_MOST = 3  # changes in one sentence
RANK = 16  # of the adapters that are suggested
_SHARES = (2, 4, 8, 16)  # of slots or weights that are left to a chip
_INT8 = f"weights={int8.NAME}"
_WIDE = 64  # width of heads; the fused kernel pads narrower ones to more memory than it saves


@dataclasses.dataclass(frozen=True)
class ConfigChange:
    """Another config, and its difference from the requested one in words."""

    words: str
    config: Any


def for_training(run: PlannedTraining, wanted: Topology, needed: float) -> list[ConfigChange]:
    """Return changes that should make a step fit that needs `needed` bytes per chip.

    Estimates of both configs give the share of the memory that a change saves. Single settings are
    tried first, the one that costs the least time in front; if none is enough, the best combination
    of settings on this slice or these GPUs is returned. Empty if that does not fit either.
    """
    parameters = run.shapes.parameters
    now = memory.estimate(run.config, parameters, run.length)

    def enough(config: TrainConfig) -> bool:
        share = memory.estimate(config, parameters, run.length) / now
        fits = share * needed <= wanted.chip.usable * GIB
        return fits and memory.divides(config) and wanted.carries(dataclasses.astuple(config.mesh))

    changes: dict[str, ConfigChange] = {}
    for kind, config in _single(run.config, isinstance(wanted, GpuSet)):
        if kind not in changes and enough(config):
            changes[kind] = ConfigChange(_words(run, config), config)
    if not changes:
        combinations = memory.candidates(run.config, parameters, wanted, run.length, needed / now)
        return [
            ConfigChange(_words(run, combination), combination) for combination in combinations
        ][:1]
    return list(changes.values())[:_MOST]


def adapters_fit(run: PlannedTraining, wanted: Topology, needed: float) -> bool:
    """Return whether LoRA should fit, on some mesh, for a training that needs `needed` bytes."""
    if run.config.lora.rank:
        return False
    parameters = run.shapes.parameters
    factor = needed / memory.estimate(run.config, parameters, run.length)
    adapted = dataclasses.replace(run.config, lora=LoraConfig(rank=RANK))
    found = next(memory.candidates(adapted, parameters, wanted, run.length, factor), None)
    return found is not None


def _single(config: TrainConfig, on_gpus: bool) -> Iterator[tuple[str, TrainConfig]]:
    """Yield configs that differ in one setting, with its name, in increasing difference."""
    mesh, model = config.mesh, config.model
    if mesh.data > 1:
        other = MeshConfig(1, mesh.data * mesh.fsdp, mesh.tensor)
        yield "fsdp", dataclasses.replace(config, mesh=other)
    if model.attention == "xla" and (on_gpus or model.width // model.heads >= _WIDE):
        linear = dataclasses.replace(model, attention="blockwise" if on_gpus else "fused")
        yield "attention", dataclasses.replace(config, model=linear)
    for remat in {"none": ("dots", "full"), "dots": ("full",)}.get(model.remat, ()):
        less = dataclasses.replace(model, remat=remat)
        yield "remat", dataclasses.replace(config, model=less)
    rows = config.batch_size // (mesh.data * mesh.fsdp)
    for parts in range(config.accumulate + 1, rows + 1):
        if rows % parts == 0:
            yield "accumulate", dataclasses.replace(config, accumulate=parts)
    for times in (2, 4, 8, 16):
        if mesh.fsdp % times == 0:
            other = MeshConfig(mesh.data, mesh.fsdp // times, mesh.tensor * times)
            yield "tensor", dataclasses.replace(config, mesh=other)


def _words(run: PlannedTraining, config: TrainConfig) -> str:
    """Return the settings that differ, such as `fsdp=16, tensor=4`, without axes set to -1."""
    pairs: list[tuple[Any, Any, Any]] = [
        (run.config.mesh, config.mesh, run.requested.mesh),
        (run.config.model, config.model, run.requested.model),
        (run.config, config, run.requested),
    ]
    return ", ".join(
        f"{field.name}={getattr(after, field.name)}"
        for before, after, requested in pairs
        for field in dataclasses.fields(before)
        if getattr(before, field.name) != getattr(after, field.name)
        and not dataclasses.is_dataclass(getattr(before, field.name))
        and getattr(requested, field.name) != -1
    )


def for_annotation(run: PlannedAnnotation, wanted: Topology, needed: float) -> list[ConfigChange]:
    """Return changes for an annotation: fewer slots, weights sharded over `tensor`, or in int8.

    If no single change is enough, int8 weights are combined with fewer slots.
    """
    available, mesh, config = wanted.chip.usable * GIB, run.config.mesh, run.config
    _, weights = bytes_of(run.params)
    exact = not config.weights
    changes = [*_fewer_slots(run, needed, available, ())]
    for share in _SHARES:
        other = MeshConfig(mesh.data // share, mesh.fsdp, mesh.tensor * share)
        divides = run.model.heads % other.tensor == 0 and wanted.carries(dataclasses.astuple(other))
        if divides and needed - weights * (1 - 1 / share) <= available:
            sharded = dataclasses.replace(config, mesh=other)
            changes.append(ConfigChange(f"data={other.data}, tensor={other.tensor}", sharded))
            break
    quantized = dataclasses.replace(config, weights=int8.NAME)
    if exact and needed - weights / 2 <= available:  # of bfloat16
        changes.append(ConfigChange(_INT8, quantized))
    if exact and not changes:
        smaller = dataclasses.replace(run, config=quantized)
        changes = [*_fewer_slots(smaller, needed - weights / 2, available, (_INT8,))]
    return changes


def _fewer_slots(
    run: PlannedAnnotation, needed: float, available: float, words: tuple[str, ...]
) -> Iterator[ConfigChange]:
    """Yield the config with the most slots that should fit, if there is one."""
    mesh = run.config.mesh
    for share in _SHARES:
        slots = run.config.slots // share
        even = slots and slots % (mesh.data * mesh.fsdp) == 0
        if even and needed - run.cache * (1 - 1 / share) <= available:
            config = dataclasses.replace(run.config, slots=slots)
            yield ConfigChange(", ".join((*words, f"slots={slots}")), config)
            return


def sentence(
    needed: float,
    available: float,
    changes: list[ConfigChange],
    wanted: Topology,
    proven: str = "",
) -> str:
    """Return a sentence such as `does not fit: needs 21.3 GiB of 16.0 GiB; try tensor=4`.

    `proven` is the outcome of compiling the changes.
    """
    problem = f"does not fit: needs {needed / GIB:.1f} GiB of {available / GIB:.1f} GiB"
    if proven:
        return f"{problem}; {proven}"
    if changes:
        return f"{problem}; try {' or '.join(change.words for change in changes)}"
    if larger := wanted.larger():
        return f"{problem}, and no setting makes it fit; try --topology={larger.name}"
    more = _with_more_memory(wanted)
    other = f"a {unit(wanted)} with more memory ({' or '.join(more)}), or " if more else ""
    most = "this many GPUs" if isinstance(wanted, GpuSet) else "the largest slice of this chip"
    return f"{problem}, and no setting makes it fit on {most}; use {other}a smaller model"


def _with_more_memory(wanted: Topology) -> list[str]:
    """Return the names of chips or GPUs with more memory."""
    known = gpus.GPUS.values() if isinstance(wanted, GpuSet) else chips.CHIPS.values()
    return [chip.name for chip in known if chip.usable > wanted.chip.usable]
