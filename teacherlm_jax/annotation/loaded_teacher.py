"""A teacher that is ready to write explanations: the interface of workers and teachers."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import jax
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.annotation.endpoint.endpoint_cost import spent_on_disk
from teacherlm_jax.annotation.endpoint.endpoint_teacher import EndpointTeacher
from teacherlm_jax.annotation.explain import GeneratedExplanation, generate_explanations
from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.annotation.job.job_plan import AnnotationJob
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.evaluation.scoring import Scorer
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.generation.texts import LengthGroup
from teacherlm_jax.hf import any_model

_CHECKED_TOKENS = 4096  # per forward pass of the gate answer_check, beside the KV cache


class LoadedTeacher(Protocol):
    """A teacher that turns a stream of prompts into finished explanations."""

    @property
    def step(self) -> int:
        """Number of updates of the model; 0 if it is not known."""

    @property
    def digest(self) -> str:
        """Digest that identifies the model."""

    @property
    def dtype(self) -> str:
        """Dtype of the computation; empty if it is not known."""

    @property
    def weights(self) -> str:
        """Dtype in which the weights are stored; empty if it is not known."""

    def of(self, kind: str) -> "LoadedTeacher":
        """Return the teacher that writes a kind, if this one combines several."""

    def explanations(
        self, prompts: Iterator[ExplanationPrompt]
    ) -> Iterator[tuple[ExplanationPrompt, GeneratedExplanation]]:
        """Yield each prompt with its explanation as it is finished, in any order.

        Prompts are read when there is room for more texts, a few ahead of the finished ones. Gates
        that judge an explanation by its text alone have verdicts.
        """

    def answers_found(self, explained: Sequence[GateInput]) -> list[bool | None]:
        """Return the verdicts of the gate `answer_check`; None: no verdict."""


@dataclasses.dataclass(frozen=True)
class ModelTeacher:
    """A teacher whose model is in memory. Use it under the model's mesh.

    Attributes:
        config: sampling, seed, gates and slots.
        model: the model.
        lengths: number of prompts by length in tokens, at least of those that it will get.
        members: maximum number of prompts of one sample.
        say: gets a line about each program that is compiled.
        counts: object to which the engines add their work.
        alone: with the adapters of several teachers, each of them by kind.
        adapters: index of the adapter that writes each kind.
    """

    config: AnnotateConfig
    model: LoadedModel
    lengths: Mapping[int, int]
    members: int
    say: Callable[[str], None]
    counts: SlotCounts
    alone: Mapping[str, "ModelTeacher"] = dataclasses.field(default_factory=dict)
    adapters: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def step(self) -> int:
        """Number of updates of the model."""
        return self.model.step

    @property
    def digest(self) -> str:
        """Digest of its parameters."""
        return self.model.digest

    @property
    def dtype(self) -> str:
        """Dtype of the computation."""
        return self.model.config.dtype

    @property
    def weights(self) -> str:
        """Dtype in which the weights are stored."""
        return self.model.weights

    def of(self, kind: str) -> "ModelTeacher":
        """Return the teacher that writes a kind."""
        return self.alone.get(kind, self)

    def explanations(
        self, prompts: Iterator[ExplanationPrompt]
    ) -> Iterator[tuple[ExplanationPrompt, GeneratedExplanation]]:
        """Yield each prompt with its explanation; see `LoadedTeacher`."""
        return generate_explanations(
            *(self.model, prompts, self.config.sampling),
            seed=self.config.seed,
            gates=self.config.gates,
            attempts=self.config.attempts,
            slots=self.config.slots,
            members=self.members,
            lengths=self.lengths,
            say=self.say,
            counts=self.counts,
            adapters=self.adapters,
            engines=self._engines,
        )

    @functools.cached_property
    def _engines(self) -> dict[LengthGroup, Engine]:
        return {}

    @functools.cached_property
    def _scorer(self) -> Scorer:
        return predictions.scorer_of(self.model, _CHECKED_TOKENS)

    def answers_found(self, explained: Sequence[GateInput]) -> list[bool | None]:
        """Return the verdicts of the gate `answer_check`; see `LoadedTeacher`."""
        return answer_check.answers_found(self.model, explained, scorer=self._scorer)


@contextlib.contextmanager
def open_teacher(
    config: AnnotateConfig,
    teacher: AnnotationTeacher,
    job: AnnotationJob,
    say: Callable[[str], None],
    counts: SlotCounts,
) -> Iterator[LoadedTeacher]:
    """Load a teacher for the time of a `with` block; one on a server is ready.

    Args:
        config: settings of the run.
        teacher: the teacher.
        job: the job, with the lengths of its prompts and the files on disk.
        say: gets lines about its work.
        counts: object to which the engines of a model add their work.
    """
    if teacher.path is None:
        served = [kind for other in job.teachers if other.path is None for kind in other.kinds]
        spent = spent_on_disk(config.endpoint, job.folder, served)
        yield EndpointTeacher(config, teacher.name, teacher.digest, spent, say)
        return
    lengths, mesh = job.record.lengths_of(teacher.kinds), sharding.make_mesh(config.mesh)
    model, models = load_models(config, teacher, mesh)
    opened = ModelTeacher(config, model, lengths, teacher.members, say, counts)
    if teacher.together:
        say(f"loaded {len(models)} adapters of one base: {teacher.name}")
        each = [dataclasses.replace(opened, model=own) for own in models]
        alone = {kind: each[index] for kind, index in teacher.adapters.items()}
        opened = dataclasses.replace(opened, alone=alone, adapters=teacher.adapters)
    with jax.set_mesh(mesh):
        yield opened


def load_models(
    config: AnnotateConfig, teacher: AnnotationTeacher, mesh: Mesh
) -> tuple[LoadedModel, list[LoadedModel]]:
    """Return the model that a teacher writes with, and the model of each of its teachers alone.

    The teacher is not on a server. If it combines several teachers, its model has all their
    adapters.
    """
    options = {
        "dtype": config.dtype,
        "attention": config.attention,
        "weights": config.weights,
    }
    paths = [one.path for one in teacher.together or (teacher,) if one.path is not None]
    if len(paths) > 1:
        return any_model.load_together(paths, mesh, **options)
    model = any_model.load(paths[0], mesh, **options)
    return model, [model]
