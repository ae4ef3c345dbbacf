"""Rows that a job accepts: no longer prompt than the limits allow, and no explanation replaced."""

import dataclasses
from collections.abc import Iterable, Sequence

from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.texts import longest_prompt


@dataclasses.dataclass(frozen=True)
class PromptLimit:
    """Maximum tokens of a prompt (0: any number), and the reason for refusing a longer one."""

    tokens: int = 0
    reason: str = ""


def prompt_limit(config: AnnotateConfig, teachers: Iterable[AnnotationTeacher]) -> PromptLimit:
    """Return the smallest of the limits by the config and by the teachers' learned positions."""
    limits = [PromptLimit(config.prompt_length, f"config.prompt_length={config.prompt_length}")]
    for teacher in teachers:
        limit = longest_prompt(teacher.max_positions, config.sampling)
        reason = (
            f"the {limit} that {teacher.max_positions} learned positions leave with "
            f"config.sampling.max_new_tokens={config.sampling.max_new_tokens}"
        )
        limits.append(PromptLimit(limit, reason))
    set_limits = (limit for limit in limits if limit.tokens)
    return min(set_limits, key=lambda limit: (limit.tokens, limit.reason), default=PromptLimit())


def all_too_long(
    config: AnnotateConfig, teachers: Sequence[AnnotationTeacher], shortest: int
) -> UserError:
    """Return the error for a source whose shortest prompt of `shortest` tokens is too long."""
    return UserError(
        f"{config.source.path}: all prompts have more tokens than "
        f"{prompt_limit(config, teachers).reason}; {_make_room(config, teachers, shortest)}"
    )


def _make_room(config: AnnotateConfig, teachers: Iterable[AnnotationTeacher], tokens: int) -> str:
    """Return the settings to change so that a prompt of `tokens` tokens is accepted."""
    changes = []
    if 0 < config.prompt_length < tokens:
        changes.append(f"raise config.prompt_length to {tokens} or more")
    positions = min((t.max_positions for t in teachers if t.max_positions), default=0)
    if positions and positions <= tokens:
        return "choose another source, or a teacher with more learned positions"
    if positions and positions - config.sampling.max_new_tokens < tokens:
        changes.append(f"lower config.sampling.max_new_tokens to {positions - tokens} or less")
    return f"{' and '.join(changes)}, or choose another source"


def refuse_explained(config: AnnotateConfig, kinds: Sequence[str], sample: Sample) -> None:
    """Raise UserError if a new explanation would replace another, or the verdicts of another.

    Verdicts are kept by kind, for one author only.
    """
    for kind in kinds:
        if annotated := sample.annotations.get(kind):
            existing = f"an annotated {kind} by {annotated['author']!r}"
            remedy = "annotate the data from before that annotation"
        elif config.author in sample.explanations.get(kind, {}):
            existing, remedy = f"a {kind} by {config.author!r}", "choose another config.author"
        else:
            continue
        if len(kinds) > 1:  # a job of no kind is refused
            remedy += f", or leave config.teachers.{kind} empty"
        raise UserError(
            f"{config.source.path}: sample {sample.id} already has {existing}, which this job "
            f"would replace; {remedy}"
        )
