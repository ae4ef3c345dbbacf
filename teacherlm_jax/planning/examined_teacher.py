"""A teacher on this machine: its programs, its memory, and its speed on a few prompts."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax

from teacherlm_jax import capacity, sharding
from teacherlm_jax.annotation.attempts import PromptRequests
from teacherlm_jax.annotation.job.job_preview import JobPreview
from teacherlm_jax.annotation.loaded_teacher import load_models
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.generation import texts
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.slot_numbers import slot_shards
from teacherlm_jax.generation.texts import LengthGroup
from teacherlm_jax.planning.programs import compiled
from teacherlm_jax.planning.timed_sample import TimedSample, timed


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExaminedTeacher:
    """Figures of a teacher on this machine.

    Attributes:
        teacher: the teacher.
        machine: number and kind of the devices.
        groups: prompts by length, with the slots of each group.
        programs: names of the programs of each group.
        parameters: bytes per device of the parameters.
        slots: bytes per device of the largest group of slots, with the KV cache.
        temporaries: bytes per device of intermediate results.
        available: bytes that a device can hold; None if it does not say.
        sample: what was timed.
        tokens: estimated mean of the new tokens of a text; None if no text was finished.
        hours: hours with texts of that length; None without one.
        most_hours: hours if no text ends before `max_new_tokens`.
    """

    teacher: AnnotationTeacher
    machine: str
    groups: tuple[LengthGroup, ...]
    programs: tuple[tuple[str, ...], ...]
    parameters: int
    slots: int
    temporaries: float
    available: int | None
    sample: TimedSample
    tokens: float | None
    hours: float | None
    most_hours: float


def examine(
    config: AnnotateConfig,
    preview: JobPreview,
    teacher: AnnotationTeacher,
    budget: float,
    say: Callable[[str], None],
) -> ExaminedTeacher:
    """Load a teacher that has explanations to write, and measure it.

    Args:
        config: the config.
        preview: the job.
        teacher: the teacher.
        budget: maximum time of generation in seconds, without compilations.
        say: gets a line about each program that is compiled.

    Raises UserError if the memory does not suffice.
    """
    mesh = sharding.make_mesh(config.mesh)
    loaded, _ = load_models(config, teacher, mesh)
    sampling, members = config.sampling, teacher.members
    lengths = preview.job.record.lengths_of(teacher.kinds)
    with jax.set_mesh(mesh):
        shards = slot_shards(config.slots)
        groups = texts.length_groups(lengths, config.slots, sampling.max_new_tokens, shards)
        engines = [
            texts.engine_of(loaded, group, sampling, members=members, say=say) for group in groups
        ]
        memory = [engine.bytes_per_device() for engine in engines]
        temporaries = max(map(_temporaries, engines))
        sample = _sample(config, preview, teacher, groups, engines, budget)
    tokens = sample.mean_tokens(sampling.max_new_tokens)
    share = preview.left(teacher.kinds) / lengths.total()
    return ExaminedTeacher(
        teacher=teacher,
        machine=f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
        groups=tuple(groups),
        programs=tuple(_programs(preview, teacher.kinds, groups, engines)),
        parameters=memory[0][0],
        slots=max(slots for _, slots in memory),
        temporaries=temporaries,
        available=capacity.available(mesh.local_devices[0]),
        sample=sample,
        tokens=tokens,
        hours=None if tokens is None else share * sample.hours(lengths, groups, tokens),
        most_hours=share * sample.hours(lengths, groups, sampling.max_new_tokens),
    )


def _temporaries(engine: Engine) -> float:
    """Compile the largest programs of an engine; return the bytes of their intermediate results."""
    programs = (compiled(one.name, one.lowered.compile) for one in engine.programs())
    return max(program.temporaries for program in programs)


def _sample(
    config: AnnotateConfig,
    preview: JobPreview,
    teacher: AnnotationTeacher,
    groups: Sequence[LengthGroup],
    engines: Sequence[Engine],
    budget: float,
) -> TimedSample:
    """Time the engine of the shortest prompts that are left."""
    prompts = (prompt for prompt in preview.prompts if prompt.kind in teacher.kinds)
    requests = list(PromptRequests(prompts, config.seed, teacher.members, teacher.adapters))
    for group, engine in zip(groups, engines, strict=True):
        own = [request for request in requests if len(request.tokens) <= group.longest]
        if own:
            complete = preview.sampled_all and len(own) == len(requests)
            return timed(engine, own, group.slots, budget, complete)
    raise ValueError("no prompt is left")


def _programs(
    preview: JobPreview,
    kinds: Sequence[str],
    groups: Sequence[LengthGroup],
    engines: Sequence[Engine],
) -> Iterator[tuple[str, ...]]:
    """Yield the names of the programs of each group."""
    record, shorter = preview.job.record, -1
    triggers = {prompt.kind: len(prompt.tokens) - prompt.shared for prompt in preview.prompts}
    for group, engine in zip(groups, engines, strict=True):
        own = {
            (kind, length)
            for kind in kinds
            for length in record.lengths[kind]
            if shorter < length <= group.longest
        }
        shorter = group.longest
        prefixes = [length - triggers[kind] for kind, length in own if kind in triggers]
        yield tuple(engine.program_names(prefixes, min(length for _, length in own)))
