"""Settings to change if a program does not fit into memory."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from teacherlm_jax.config import AnnotateConfig, MeshConfig, TrainConfig
from teacherlm_jax.planning import chips, memory
from teacherlm_jax.planning.annotation_programs import PlannedAnnotation
from teacherlm_jax.planning.chips import GIB, TpuSlice
from teacherlm_jax.planning.training_program import PlannedTraining, bytes_of

_MOST = 3  # changes in one sentence
_WIDE = 64  # width of heads; the fused kernel pads narrower ones to more memory than it saves


@dataclasses.dataclass(frozen=True)
class ConfigChange:
    """Another config, and its difference from the requested one in words."""

    words: str
    config: Any


def for_training(run: PlannedTraining, tpu_slice: TpuSlice, needed: float) -> list[ConfigChange]:
    """Return changes that should make a step fit that needs `needed` bytes per chip.

    Estimates of both configs give the share of the memory that a change saves. Single settings are
    tried first, the one that costs the least time in front; if none is enough, the best combination
    of settings on this slice is returned. Empty if that does not fit either.
    """
    parameters = run.shapes.parameters
    now = memory.estimate(run.config, parameters, run.length)

    def enough(config: TrainConfig) -> bool:
        share = memory.estimate(config, parameters, run.length) / now
        fits = share * needed <= tpu_slice.chip.usable * GIB
        return (
            fits and memory.divides(config) and tpu_slice.carries(dataclasses.astuple(config.mesh))
        )

    changes: dict[str, ConfigChange] = {}
    for kind, config in _single(run.config):
        if kind not in changes and enough(config):
            changes[kind] = ConfigChange(_words(run, config), config)
    if not changes:
        combinations = memory.candidates(
            run.config, parameters, tpu_slice, run.length, needed / now
        )
        return [
            ConfigChange(_words(run, combination), combination) for combination in combinations
        ][:1]
    return list(changes.values())[:_MOST]


def _single(config: TrainConfig) -> Iterator[tuple[str, TrainConfig]]:
    """Yield configs that differ in one setting, with its name, in increasing difference."""
    mesh, model = config.mesh, config.model
    if mesh.data > 1:
        other = MeshConfig(1, mesh.data * mesh.fsdp, mesh.tensor)
        yield "fsdp", dataclasses.replace(config, mesh=other)
    if model.attention == "xla" and model.width // model.heads >= _WIDE:
        fused = dataclasses.replace(model, attention="fused")
        yield "attention", dataclasses.replace(config, model=fused)
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


def for_annotation(
    run: PlannedAnnotation, tpu_slice: TpuSlice, needed: float
) -> list[ConfigChange]:
    """Return changes for an annotation: fewer slots, or weights sharded over `tensor`."""
    available, mesh = tpu_slice.chip.usable * GIB, run.config.mesh
    _, weights = bytes_of(run.params)
    changes = []
    for share in (2, 4, 8, 16):
        slots = run.config.slots // share
        even = slots and slots % (mesh.data * mesh.fsdp) == 0
        if even and needed - run.cache * (1 - 1 / share) <= available:
            config: AnnotateConfig = dataclasses.replace(run.config, slots=slots)
            changes.append(ConfigChange(f"slots={slots}", config))
            break
    for share in (2, 4, 8, 16):
        other = MeshConfig(mesh.data // share, mesh.fsdp, mesh.tensor * share)
        divides = run.model.heads % other.tensor == 0 and tpu_slice.carries(
            dataclasses.astuple(other)
        )
        if divides and needed - weights * (1 - 1 / share) <= available:
            config = dataclasses.replace(run.config, mesh=other)
            changes.append(ConfigChange(f"tensor={other.tensor}", config))
            break
    return changes


def sentence(
    needed: float,
    available: float,
    changes: list[ConfigChange],
    tpu_slice: TpuSlice,
    proven: str = "",
) -> str:
    """Return a sentence such as `does not fit: needs 21.3 GiB of 16.0 GiB; try tensor=4`.

    `proven` is the outcome of compiling the changes.
    """
    problem = f"does not fit: needs {needed / GIB:.1f} GiB of {available / GIB:.1f} GiB"
    if proven:
        return f"{problem}; {proven}"
    if not changes:
        larger = tpu_slice.larger()
        if larger is None:
            usable = tpu_slice.chip.usable
            more = [chip.name for chip in chips.CHIPS.values() if chip.usable > usable]
            other = f"a chip with more memory ({' or '.join(more)}), or " if more else ""
            return (
                f"{problem}, and no setting makes it fit on the largest slice of this chip; use "
                f"{other}a smaller model"
            )
        return f"{problem}, and no setting makes it fit; try --topology={larger.name}"
    return f"{problem}; try {' or '.join(change.words for change in changes)}"
