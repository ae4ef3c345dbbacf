"""SeqIO mixtures: some sources in some text forms, each text once, in one shuffled order."""

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.config import MixtureConfig, PartConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.tasks import chunks
from teacherlm_jax.tasks.chunks import Rendering
from teacherlm_jax.tasks.seqio_tasks import PASSED_THROUGH, TextTask, add_task
from teacherlm_jax.tasks.surveyed_source import Source
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_BATCH = 64  # examples that leave TensorFlow at once, as wide as the longest of them


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


def text_tasks(
    config: MixtureConfig, sources: Sequence[Source], vocabulary: Vocabulary, seed: int
) -> list[TextTask]:
    """The tasks of a mixture, one for each source and form.

    Names carry a digest of everything that decides the examples.
    """
    tasks = []
    for part in config.parts:
        for source, form in itertools.product(_drawn_on(part, sources), part.forms):
            rendering = Rendering(form, config, part.subject_prefix, seed)
            decided = (source, rendering, vocabulary.digest, prompts.PROMPT_VERSION, chunks.SIZE)
            name = _name(f"{config.name}_{source.config.name}_{form}", *decided)
            tasks.append(TextTask(name, source, rendering))
    return tasks


def add_mixture(
    config: MixtureConfig,
    sources: Sequence[Source],
    vocabulary: Vocabulary,
    seed: int,
    chunks_of: Callable[[TextTask], Iterable[chunks.Chunk]] | None = None,
) -> seqio.Mixture:
    """Registers a mixture and its tasks, one for each source and form, in place of earlier ones.

    Tasks are mixed in proportion to their numbers of examples, until all of them have run out.
    `chunks_of` gives the texts of a task; without it they are encoded when they are asked for.
    """
    tasks = text_tasks(config, sources, vocabulary, seed)
    for task in tasks:
        made = functools.partial(task.chunks, vocabulary)
        add_task(task, vocabulary, functools.partial(chunks_of, task) if chunks_of else made)
    names = [task.name for task in tasks]
    name = _name(config.name, *names)
    seqio.MixtureRegistry.remove(name)
    return seqio.MixtureRegistry.add(
        name,
        names,
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
        trim_output_features=False,
        try_in_mem_cache=False,
    )
    # example by example, the way from TensorFlow to Python would take as long as the tokenising
    for batch in dataset.padded_batch(_BATCH).as_numpy_iterator():
        yield from _unbatched(batch)


def _unbatched(batch: dict[str, np.ndarray]) -> Iterator[Text]:
    lengths = np.count_nonzero(batch["targets"], axis=1).tolist()  # no text has a token 0: padding
    tasks, drops, fields = (batch[name].tolist() for name in PASSED_THROUGH)
    for index, (task, drop) in enumerate(zip(tasks, drops, strict=True)):
        length = lengths[index]
        # copied, lest a text that waits for its row keep the whole batch in memory
        tokens, mask = (batch[name][index, :length].copy() for name in ("targets", "loss_mask"))
        yield Text(task.decode(), drop.decode(), Encoded(tokens, mask, fields[index]))


def _name(readable: str, *decided: object) -> str:
    """A name that SeqIO accepts: the readable part and a digest of what stands behind it."""
    digest = hashlib.sha256(repr(decided).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', readable)}_{digest[:16]}"
