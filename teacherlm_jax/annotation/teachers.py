"""Teachers of an annotation, described without loading their parameters."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

from etils import epath

from teacherlm_jax.annotation.endpoint import endpoint_client
from teacherlm_jax.checkpoints.adapter_origin import AdapterOrigin
from teacherlm_jax.config import AnnotateConfig, ModelConfig
from teacherlm_jax.config.endpoint_config import is_endpoint
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.runs import distributed
from teacherlm_jax.tokenization.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotationTeacher:
    """A model that writes explanations.

    Attributes:
        name: path or address of the model as in the config.
        path: checkpoint or folder of the model; a run folder may get newer checkpoints. None: the
            model is on a server.
        digest: digest of the parameters, or of what identifies the model on a server.
        kinds: kinds of explanations that it writes.
        step: number of updates; 0 if it is not known.
        max_positions: tokens of the longest text for which it has learned positions; 0: any.
        shape: its shape; None: it is not known.
        origin: settings of its LoRA adapters, and their base; None without adapters.
        together: teachers that are loaded at the same time, because they are adapters of one base;
            this one then combines them, and writes all their kinds.
    """

    name: str
    path: epath.Path | None
    digest: str
    kinds: tuple[str, ...]
    step: int = 0
    max_positions: int = 0
    shape: ModelConfig | None = None
    origin: AdapterOrigin | None = None
    together: tuple["AnnotationTeacher", ...] = ()

    def of(self, kind: str) -> "AnnotationTeacher":
        """Return the teacher that writes a kind."""
        return next((teacher for teacher in self.together if kind in teacher.kinds), self)

    @property
    def adapters(self) -> dict[str, int]:
        """Index of the adapter of each kind, if it combines several teachers; else empty."""
        numbered = enumerate(self.together)
        return {kind: index for index, teacher in numbered for kind in teacher.kinds}

    @property
    def members(self) -> int:
        """Maximum number of kinds whose prompts share a prefix that is read once."""
        return max(len(teacher.kinds) for teacher in self.together or (self,))


def inputs(config: AnnotateConfig) -> dict[str, str]:
    """Return the digest of each teacher by config key, such as "teachers.cot".

    The source is not among them, because it may grow; its rows are compared one by one with the
    explanations on disk.
    """
    return digests(describe_teachers(config)[0])


def digests(teachers: tuple[AnnotationTeacher, ...]) -> dict[str, str]:
    """Return the digest of each kind's teacher by config key."""
    return {
        f"teachers.{kind}": teacher.of(kind).digest
        for teacher in teachers
        for kind in teacher.kinds
    }


def describe_teachers(
    config: AnnotateConfig,
) -> tuple[tuple[AnnotationTeacher, ...], Vocabulary | None]:
    """Return the distinct teachers, and the vocabulary that their models share.

    LoRA runs with equal settings over one base are one teacher; see `AnnotationTeacher.together`.
    The vocabulary is None if all teachers are on servers.

    Raises UserError if a model cannot be found or is damaged, if vocabularies differ, or if a
    server does not serve a model.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for kind in KINDS:
        if name := getattr(config.teachers, kind):
            by_name[name].append(kind)
    described = [_described(config, name, tuple(kinds)) for name, kinds in by_name.items()]
    with_vocabulary = [(teacher, own) for teacher, own in described if own is not None]
    for teacher, vocabulary in with_vocabulary:
        first, shared = with_vocabulary[0]
        if vocabulary.digest != shared.digest:
            raise UserError(
                f"config.teachers: {first.name} has the vocabulary {shared.digest}, {teacher.name} "
                f"has {vocabulary.digest}; all teachers of one run must share a vocabulary, so "
                "annotate with one run per vocabulary"
            )
    vocabularies = [vocabulary for _, vocabulary in with_vocabulary]
    return _together([teacher for teacher, _ in described]), next(iter(vocabularies), None)


def _together(teachers: Sequence[AnnotationTeacher]) -> tuple[AnnotationTeacher, ...]:
    """Return the teachers, those that are adapters of one base as one."""
    groups: dict[str, list[AnnotationTeacher]] = defaultdict(list)
    for teacher in teachers:
        origin = teacher.origin
        groups[f"{origin.base.digest} {origin.lora}" if origin else teacher.name].append(teacher)
    return tuple(_one_for(group) if len(group) > 1 else group[0] for group in groups.values())


def _one_for(teachers: Sequence[AnnotationTeacher]) -> AnnotationTeacher:
    return dataclasses.replace(
        teachers[0],
        name=" and ".join(teacher.name for teacher in teachers),
        kinds=tuple(kind for teacher in teachers for kind in teacher.kinds),
        together=tuple(teachers),
    )


def _described(
    config: AnnotateConfig, name: str, kinds: tuple[str, ...]
) -> tuple[AnnotationTeacher, Vocabulary | None]:
    if is_endpoint(name):
        if distributed.process_count() > 1:
            raise UserError(
                f"config.teachers.{kinds[0]}={name}: {distributed.process_count()} processes that "
                "share models cannot share a teacher on a server; annotate this kind in a run of "
                "its own, started without a launcher"
            )
        digest = endpoint_client.describe(name, config.endpoint)
        return AnnotationTeacher(name=name, path=None, digest=digest, kinds=kinds), None
    model = any_model.describe(name)
    teacher = AnnotationTeacher(
        name=name,
        path=model.path,
        step=model.step,
        digest=model.digest,
        max_positions=model.config.max_positions,
        shape=model.config,
        kinds=kinds,
        origin=model.origin,
    )
    return teacher, model.vocabulary
