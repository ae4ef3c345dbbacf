"""Hours and storage of one command, estimated from sizes; nothing is compiled or read.

The hours are lower bounds: they assume that chips reach their published peaks.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from teacherlm_jax.config import (
    AnnotateConfig,
    EvaluateConfig,
    MeshConfig,
    ModelConfig,
    StepConfig,
    TrainConfig,
)
from teacherlm_jax.models import registry
from teacherlm_jax.planning import annotation_programs, memory
from teacherlm_jax.planning.topology import Topology
from teacherlm_jax.planning.training_program import ASSUMED_LENGTH
from teacherlm_jax.training.flops import model_flops
from teacherlm_jax.wording import GIB

COMPILED, ESTIMATED, UNKNOWN = "compiled", "estimated", ""

_RECOMPUTED = {
    "full": 1.23,
    "dots": 1.1,
    "none": 1.0,
}  # compiled over model FLOPs; see tpu-slices.md
_STATE = 12  # bytes of a parameter in a checkpoint, with AdamW's moments, in float32
_PREPARED = 816_000  # tokens per second of `prepare` on two cores; see results.md
_PACKED = 1.9  # bytes of a token in packed rows, compressed; measured on human rationales
_TEXT = 5  # bytes of a token as text
_PROVENANCE = 700  # bytes of an explanation besides its text
_PREDICTION = 400  # bytes of a question in the result of `evaluate`
_TEACHER = "bloom-7b1"  # if the teachers do not exist yet


@dataclasses.dataclass(frozen=True)
class StepEstimate:
    """Hours, chips and storage of a command.

    Attributes:
        hours: lower bound of its run time; None if it is not known.
        chips: TPU chips or GPUs; 0 if it runs on a CPU.
        storage: bytes that it leaves behind; None if they are not known.
        basis: COMPILED if the time of a step is that of a compiled program, else ESTIMATED; UNKNOWN
            without hours.
        problem: reason why the command may fail on the slice; may be empty.
    """

    hours: float | None
    chips: int
    storage: float | None
    basis: str
    problem: str = ""

    @property
    def chip_hours(self) -> float:
        """Return the hours times the chips."""
        return (self.hours or 0.0) * self.chips


def estimate(
    step: StepConfig, configs: Sequence[Any], tpu_slice: Topology | None, model: ModelConfig | None
) -> StepEstimate:
    """Return what a step of a pipeline needs, with all points of a sweep one after the other.

    Args:
        step: the step, whose rows and tokens are those of data that do not exist yet, of all
            points together.
        configs: its configs: one, or one for each point of a sweep.
        tpu_slice: the slice; None: no chips.
        model: shape of the model that it reads, if an earlier step trains it.
    """
    config = configs[0]
    if isinstance(config, TrainConfig) and tpu_slice:
        return _together([_of_training(step, point, tpu_slice) for point in configs])
    if isinstance(config, AnnotateConfig):
        return _of_annotation(step, config, tpu_slice, model)
    if isinstance(config, EvaluateConfig) and tpu_slice and model:
        return _of_evaluation(step, tpu_slice, model)
    if step.verb == "prepare" and step.tokens:
        hours = step.tokens / _PREPARED / 3600
        return StepEstimate(hours, 0, float(step.tokens * _PACKED), ESTIMATED)
    return StepEstimate(None, 0, None, UNKNOWN)


def parameters(model: ModelConfig) -> int:
    """Return the number of parameters of a model, counted from its shape."""
    D, V, E = model.width, model.vocab_size, model.embedding_width or model.width
    block = 12 * D * D + 13 * D
    ends = V * E + (2 * E * D if E != D else 0)
    norms = 2 * D if model.norm == "before" else 0
    positions = (model.max_positions + 2) * D if model.family == "opt" else 2 * D
    return model.layers * block + ends * (1 if model.tied else 2) + norms + positions


def _together(points: Sequence[StepEstimate]) -> StepEstimate:
    """Return the sums of the points of a sweep, and the first problem.

    Hours or storage that are not known for one point are not known for the sweep.
    """
    hours = [point.hours for point in points]
    storage = [point.storage for point in points]
    return dataclasses.replace(
        points[0],
        hours=None if None in hours else math.fsum(filter(None, hours)),
        storage=None if None in storage else math.fsum(filter(None, storage)),
        basis=ESTIMATED if any(point.basis == ESTIMATED for point in points) else points[0].basis,
        problem=next((point.problem for point in points if point.problem), ""),
    )


def _of_training(step: StepConfig, config: TrainConfig, tpu_slice: Topology) -> StepEstimate:
    if not config.model.vocab_size:
        problem = "no estimate: config.model.vocab_size is 0, the size of data that do not exist"
        return StepEstimate(None, 0, None, UNKNOWN, problem)
    mesh = _mesh(config.mesh, tpu_slice.chips)
    settled = dataclasses.replace(config, mesh=mesh)
    count, length = parameters(config.model), ASSUMED_LENGTH
    problem = ""
    if not memory.divides(settled):
        problem = f"the mesh {_axes(mesh)} does not divide batch, heads, vocabulary or width"
    elif (needed := memory.estimate(settled, count, length)) > tpu_slice.chip.usable * GIB:
        problem = f"may not fit: {needed / GIB:.1f} GiB of {tpu_slice.chip.usable:.1f} per chip"
    seconds, basis = step.step_seconds, COMPILED
    if not seconds or tpu_slice.name != step.slice:
        tokens = config.batch_size * length
        flops = _RECOMPUTED[config.model.remat] * model_flops(config.model, tokens, length)
        links = memory.bytes_sent(settled, count, length) / tpu_slice.chip.links
        seconds, basis = max(flops / (tpu_slice.chips * tpu_slice.chip.peak), links), ESTIMATED
    kept = min(config.checkpoint.keep, config.steps) + config.checkpoint.best
    storage = float(kept * _STATE * count)
    return StepEstimate(config.steps * seconds / 3600, tpu_slice.chips, storage, basis, problem)


def _of_annotation(
    step: StepConfig, config: AnnotateConfig, tpu_slice: Topology | None, model: ModelConfig | None
) -> StepEstimate:
    """Return the estimate of an annotation: prompts at the peak, and decoding by the bandwidth."""
    most = config.sampling.max_new_tokens
    texts = {
        kind: min(tokens, most)
        for kind, tokens in annotation_programs.TOKENS.items()
        if getattr(config.teachers, kind)
    }
    written = sum(texts.values())
    per_row = _TEXT * (step.tokens + 2 * written) + _PROVENANCE * len(texts)
    storage = float(step.rows * per_row)
    loaded = annotation_programs.loaded_teachers(config)
    if tpu_slice is None or not loaded:
        return StepEstimate(None, 0, storage, UNKNOWN)
    model = model or registry.shape(_TEACHER)
    mesh = _mesh(config.mesh, tpu_slice.chips)
    copies = mesh.data  # of the weights, each read by its own chips
    weights, chip = parameters(model), tpu_slice.chip
    cached = 4 * model.layers * model.width * (step.tokens + written / max(1, len(texts)))
    read = 2 * weights * copies + cached * config.slots  # bytes of a decode step in bfloat16
    step_seconds = max(
        read / (tpu_slice.chips * chip.bandwidth),
        2 * weights * config.slots / (tpu_slice.chips * chip.peak),
    )
    prompts = 2 * weights * step.tokens * len(texts) / (tpu_slice.chips * chip.peak)
    hours = step.rows * (prompts + written * step_seconds / config.slots) / 3600
    sharded = tpu_slice.chips // copies
    longest = (config.prompt_length or ASSUMED_LENGTH) + most
    held = 2 * weights / sharded
    held += 4 * model.layers * model.width * config.slots * longest / tpu_slice.chips
    problem = ""
    if held > chip.usable * GIB:
        problem = f"may not fit: {held / GIB:.1f} GiB of {chip.usable:.1f} per chip"
    return StepEstimate(hours, tpu_slice.chips, storage, ESTIMATED, problem)


def _of_evaluation(step: StepConfig, tpu_slice: Topology, model: ModelConfig) -> StepEstimate:
    flops = 2 * parameters(model) * step.rows * step.tokens
    hours = flops / (tpu_slice.chips * tpu_slice.chip.peak) / 3600
    return StepEstimate(hours, tpu_slice.chips, float(step.rows * _PREDICTION), ESTIMATED)


def _mesh(mesh: MeshConfig, chips: int) -> MeshConfig:
    """Return a mesh in which the axis of size -1 has the remaining chips."""
    sizes = dataclasses.asdict(mesh)
    rest = chips // math.prod(size for size in sizes.values() if size > 0)
    return MeshConfig(**{axis: max(1, rest) if size < 0 else size for axis, size in sizes.items()})


def _axes(mesh: MeshConfig) -> str:
    return ", ".join(f"{axis}={size}" for axis, size in dataclasses.asdict(mesh).items())
