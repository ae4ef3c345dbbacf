"""SeqIO mixtures: some sources in some text forms, each text once, in one shuffled order."""

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import seqio
import tensorflow as tf

from teacherlm_jax.config import MixtureConfig, PartConfig
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.data.vocabulary import Vocabulary
from teacherlm_jax.tasks.sources import Source
from teacherlm_jax.tasks.tasks import CHUNK, PASSED_THROUGH, add_task


@dataclasses.dataclass(frozen=True)
class Text:
    """One example of a mixture: its task ("SOURCE/FORM"), and a text or the reason for none."""

    task: str
    drop: str
    encoded: Encoded


def used_sources(config: MixtureConfig, sources: Sequence[Source]) -> list[Source]:
    """Those of `sources` that some part of the mixture draws on."""
    used = {source.config.name for part in config.parts for source in _drawn_on(part, sources)}
    return [source for source in sources if source.config.name in used]


def _drawn_on(part: PartConfig, sources: Sequence[Source]) -> list[Source]:
    """The sources that a part names, or all."""
    return [source for source in sources if not part.sources or source.config.name in part.sources]


def add_mixture(
    config: MixtureConfig, sources: Sequence[Source], vocabulary: Vocabulary, seed: int
) -> seqio.Mixture:
    """Registers a mixture and its tasks, one for each source and form, in place of earlier ones.

    Tasks are mixed in proportion to their numbers of examples, until all of them have run out.
    Names carry a digest of everything that decides the examples.
    """
    tasks = []
    for part in config.parts:
        for source, form in itertools.product(_drawn_on(part, sources), part.forms):
            decided = (config, source, form, vocabulary.digest, seed)
            name = _name(f"{config.name}_{source.config.name}_{form}", *decided)
            add_task(name, source, form, config, part.subject_prefix, vocabulary, seed)
            tasks.append(name)
    name = _name(config.name, *tasks)
    seqio.MixtureRegistry.remove(name)
    return seqio.MixtureRegistry.add(
        name,
        tasks,
        default_rate=seqio.mixing_rate_num_examples,
        # left alone, SeqIO stops when the first task has run out
        sample_fn=functools.partial(
            tf.data.Dataset.sample_from_datasets, stop_on_empty_dataset=False
        ),
    )


def read_texts(mixture: seqio.Mixture, seed: int) -> Iterator[Text]:
    """Yields every example of every task once, in an order that the seed decides."""
    dataset = mixture.get_dataset(
        None,
        split="train",
        shuffle=True,
        seed=seed,
        num_epochs=1,
        passthrough_features=PASSED_THROUGH,
        try_in_mem_cache=False,
    )
    # example by example, the way from TensorFlow to Python would take as long as the tokenising
    for batch in dataset.ragged_batch(CHUNK):
        yield from _unbatched(batch)


def _unbatched(batch: dict[str, Any]) -> Iterator[Text]:
    ends = batch["targets"].row_splits.numpy().tolist()
    tokens, masks = (batch[name].values.numpy() for name in ("targets", "loss_mask"))
    tasks, drops, fields = (batch[name].numpy().tolist() for name in PASSED_THROUGH)
    for index, (task, drop) in enumerate(zip(tasks, drops, strict=True)):
        stretch = slice(ends[index], ends[index + 1])
        # copied, lest a text that waits for its row keep the whole batch in memory
        encoded = Encoded(tokens[stretch].copy(), masks[stretch].copy(), fields[index])
        yield Text(task.decode(), drop.decode(), encoded)


def _name(readable: str, *decided: object) -> str:
    """A name that SeqIO accepts: the readable part and a digest of what stands behind it."""
    digest = hashlib.sha256(repr(decided).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', readable)}_{digest[:16]}"
