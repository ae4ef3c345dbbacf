"""Teachers of an annotation, described without loading their parameters."""

import dataclasses
from collections import defaultdict
from pathlib import Path

from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.tokenization.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotationTeacher:
    """A model that writes explanations.

    Attributes:
        name: path of the model as in the config.
        path: checkpoint or folder of the model; a run folder may get newer checkpoints.
        step: number of updates.
        digest: digest of the parameters.
        max_positions: tokens of the longest text for which it has learned positions; 0: any.
        kinds: kinds of explanations that it writes.
    """

    name: str
    path: Path
    step: int
    digest: str
    max_positions: int
    kinds: tuple[str, ...]


def inputs(config: AnnotateConfig) -> dict[str, str]:
    """Return the digest of each teacher by config key, such as "teachers.cot".

    The source is not among them, because it may grow; its rows are compared one by one with the
    explanations on disk.
    """
    return digests(describe_teachers(config)[0])


def digests(teachers: tuple[AnnotationTeacher, ...]) -> dict[str, str]:
    """Return the digest of each kind's teacher by config key."""
    return {f"teachers.{kind}": teacher.digest for teacher in teachers for kind in teacher.kinds}


def describe_teachers(
    config: AnnotateConfig,
) -> tuple[tuple[AnnotationTeacher, ...], Vocabulary]:
    """Return the distinct teachers and the vocabulary that they share.

    Raises UserError if a model cannot be found or is damaged, or if vocabularies differ.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for kind in KINDS:
        if name := getattr(config.teachers, kind):
            by_name[name].append(kind)
    described = [_described(name, tuple(kinds)) for name, kinds in by_name.items()]
    first, shared = described[0]
    for teacher, vocabulary in described:
        if vocabulary.digest != shared.digest:
            raise UserError(
                f"config.teachers: {first.name} has the vocabulary {shared.digest}, {teacher.name} "
                f"has {vocabulary.digest}; all teachers of one run must share a vocabulary, so "
                "annotate with one run per vocabulary"
            )
    return tuple(teacher for teacher, _ in described), shared


def _described(name: str, kinds: tuple[str, ...]) -> tuple[AnnotationTeacher, Vocabulary]:
    model = any_model.describe(name)
    teacher = AnnotationTeacher(
        name=name,
        path=model.path,
        step=model.step,
        digest=model.digest,
        max_positions=model.config.max_positions,
        kinds=kinds,
    )
    return teacher, model.vocabulary
