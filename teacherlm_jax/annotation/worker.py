"""The worker: one loaded teacher that writes the missing explanations of shards.

It knows nothing about the run as a whole: it gets shards one by one, and takes the next one when
the engine's queue runs low, so that slots stay busy from one shard to the next.
"""

from collections.abc import Callable, Generator, Iterator, Sequence

from teacherlm_jax.annotation import explained_rows
from teacherlm_jax.annotation.explain import GeneratedExplanation
from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt
from teacherlm_jax.annotation.loaded_teacher import LoadedTeacher
from teacherlm_jax.annotation.shards.followed_shard import FollowedShard
from teacherlm_jax.annotation.shards.open_shard import OpenShard
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.config import AnnotateConfig

ClaimedShard = OpenShard | FollowedShard
Judged = Callable[[Sequence[bool | None]], None]
ShardPrompt = tuple[ClaimedShard, ExplanationPrompt | None]


def missing_prompts(shards: Iterator[ClaimedShard]) -> Iterator[ShardPrompt]:
    """Yield the prompts of all missing explanations with their shards, as a stream.

    A shard is without a prompt if explanations of it are only to be judged.
    """
    for shard in shards:
        if shard.unjudged_kinds():
            yield shard, None
        for prompt in shard.missing():
            yield shard, prompt


def write_explanations(
    config: AnnotateConfig,
    teacher: AnnotationTeacher,
    loaded: LoadedTeacher,
    prompts: Iterator[ShardPrompt],
    judged: Judged = lambda found: None,
) -> Generator[tuple[ClaimedShard, GeneratedExplanation | None]]:
    """Write an explanation for each prompt; yield it when it is written, with its shard.

    The last explanation of a shard completes it. A shard without an explanation was only judged.

    Args:
        config: sampling, seed and author, which rows record.
        teacher: the teacher.
        loaded: the teacher, ready to write.
        prompts: prompts with their shards, read as slots become free.
        judged: gets the teacher's verdicts by the gate `answer_check`, None for texts without one.
    """
    shard_of: dict[str, ClaimedShard] = {}  # of prompts that are waiting or being continued
    unjudged: list[ClaimedShard] = []

    def alone() -> Iterator[ExplanationPrompt]:
        for shard, prompt in prompts:
            if prompt is None:
                unjudged.append(shard)
            else:
                shard_of[prompt.id] = shard
                yield prompt

    for prompt, explanation in loaded.explanations(alone()):
        shard = shard_of.pop(prompt.id)
        name, writer = teacher.of(prompt.kind).name, loaded.of(prompt.kind)
        shard.add(explained_rows.explanation_row(config, name, writer, explanation))
        _judge(shard, loaded, judged)
        yield shard, explanation
        yield from _judge_all(unjudged, loaded, judged)
    yield from _judge_all(unjudged, loaded, judged)


def _judge_all(
    shards: list[ClaimedShard], loaded: LoadedTeacher, judged: Judged
) -> Iterator[tuple[ClaimedShard, None]]:
    """Judge shards and yield those that were not judged yet; empty the list."""
    while shards:
        shard = shards.pop(0)
        if _judge(shard, loaded, judged):
            yield shard, None


def _judge(shard: ClaimedShard, loaded: LoadedTeacher, judged: Judged) -> bool:
    """Let the teacher judge the kinds that wait for it; return whether any did."""
    kinds = shard.unjudged_kinds()
    for kind in kinds:
        found = loaded.of(kind).answers_found(shard.unjudged(kind))
        shard.judge(kind, found)
        judged(found)
    return bool(kinds)
