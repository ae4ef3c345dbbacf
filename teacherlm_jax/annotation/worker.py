"""The worker: one loaded teacher that writes the missing explanations of shards.

It knows nothing about the run as a whole: it gets shards one by one, and takes the next one when
the engine's queue runs low, so that slots stay busy from one shard to the next.
"""

from collections.abc import Callable, Iterator, Mapping

from teacherlm_jax.annotation import explained_rows
from teacherlm_jax.annotation.explain import GeneratedExplanation, generate_explanations
from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt
from teacherlm_jax.annotation.followed_shard import FollowedShard
from teacherlm_jax.annotation.open_shard import OpenShard
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import AnnotateConfig

ClaimedShard = OpenShard | FollowedShard
ShardPrompt = tuple[ClaimedShard, ExplanationPrompt]


def missing_prompts(shards: Iterator[ClaimedShard]) -> Iterator[ShardPrompt]:
    """Yield the prompts of all missing explanations with their shards, as a stream."""
    for shard in shards:
        for prompt in shard.missing():
            yield shard, prompt


def write_explanations(
    config: AnnotateConfig,
    teacher: AnnotationTeacher,
    loaded: LoadedModel,
    prompts: Iterator[ShardPrompt],
    lengths: Mapping[int, int],
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[ClaimedShard, GeneratedExplanation]]:
    """Write an explanation for each prompt; yield it when it is written, with its shard.

    Call this under the model's mesh. The shard is complete if this was its last explanation.

    Args:
        config: sampling, seed, gates, slots and author.
        teacher: the teacher.
        loaded: its model.
        prompts: prompts with their shards, read as slots become free.
        lengths: number of prompts by length in tokens, at least of those in `prompts`.
        say: gets a line about each program that is compiled.
    """
    shard_of: dict[str, ClaimedShard] = {}  # of prompts that are waiting or being continued

    def alone() -> Iterator[ExplanationPrompt]:
        for shard, prompt in prompts:
            shard_of[prompt.id] = shard
            yield prompt

    generated = generate_explanations(
        *(loaded, alone(), config.sampling),
        seed=config.seed,
        gates=config.gates,
        slots=config.slots,
        members=len(teacher.kinds),
        lengths=lengths,
        say=say,
    )
    for prompt, explanation in generated:
        shard = shard_of.pop(prompt.id)
        shard.add(explained_rows.explanation_row(config, teacher.name, loaded, explanation))
        yield shard, explanation
