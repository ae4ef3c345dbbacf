"""SeqIO mixtures: sources in text forms, every text once, in one shuffled order."""

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf
from jaxtyping import Shaped

from teacherlm_jax.config import MixtureConfig, PartConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.tasks import chunks
from teacherlm_jax.tasks.chunks import Rendering
from teacherlm_jax.tasks.seqio_tasks import PASSED_THROUGH, TextTask, add_task
from teacherlm_jax.tasks.surveyed_source import SurveyedSource
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_BATCH = 64  # examples that leave TensorFlow together, padded to the longest of them


@dataclasses.dataclass(frozen=True)
class MixtureText:
    """One example of a mixture.

    Attributes:
        task: label of its task, "SOURCE/FORM".
        drop: the reason why the sample gives no text; empty if it gives one.
        encoded: the text; empty if `drop` is not.
    """

    task: str
    drop: str
    encoded: Encoded


def used_sources(config: MixtureConfig, sources: Sequence[SurveyedSource]) -> list[SurveyedSource]:
    """Return the sources that some part of the mixture draws on."""
    used = {source.config.name for part in config.parts for source in _sources_of(part, sources)}
    return [source for source in sources if source.config.name in used]


def _sources_of(part: PartConfig, sources: Sequence[SurveyedSource]) -> list[SurveyedSource]:
    """Return the sources that a part names, or all if it names none."""
    return [source for source in sources if not part.sources or source.config.name in part.sources]


def text_tasks(
    config: MixtureConfig, sources: Sequence[SurveyedSource], vocabulary: Vocabulary, seed: int
) -> list[TextTask]:
    """Return the tasks of a mixture, one for each source and form.

    Their names contain a digest of everything that decides the examples.
    """
    tasks = []
    for part in config.parts:
        for source, form in itertools.product(_sources_of(part, sources), part.forms):
            rendering = Rendering(form, config, part.subject_prefix, seed)
            decisive = (
                *(source.identity, rendering),
                *(vocabulary.digest, prompts.PROMPT_VERSION, chunks.SIZE),
            )
            name = _name(f"{config.name}_{source.config.name}_{form}", *decisive)
            tasks.append(TextTask(name, source, rendering))
    return tasks


def add_mixture(
    name: str,
    tasks: Sequence[TextTask],
    vocabulary: Vocabulary,
    chunks_of: Callable[[TextTask], Iterable[chunks.Chunk]] | None = None,
) -> seqio.Mixture:
    """Register a mixture and its tasks in SeqIO, replacing earlier ones of the same names.

    Tasks are mixed in proportion to their numbers of examples until all are exhausted.
    `chunks_of` returns the encoded texts of a task; without it, texts are encoded on demand.
    """
    for task in tasks:
        encode = functools.partial(task.chunks, vocabulary)
        add_task(task, vocabulary, functools.partial(chunks_of, task) if chunks_of else encode)
    names = [task.name for task in tasks]
    registered = _name(name, *names)
    seqio.MixtureRegistry.remove(registered)
    return seqio.MixtureRegistry.add(
        registered,
        names,
        default_rate=seqio.mixing_rate_num_examples,
        # by default, SeqIO stops when the first task is exhausted
        sample_fn=functools.partial(
            tf.data.Dataset.sample_from_datasets, stop_on_empty_dataset=False
        ),
    )


def read_texts(mixture: seqio.Mixture, seed: int) -> Iterator[MixtureText]:
    """Yield every example of every task once, in an order that the seed decides."""
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
    # one by one, moving examples from TensorFlow to Python would take as long as tokenizing them
    for batch in dataset.padded_batch(_BATCH).as_numpy_iterator():
        yield from _unbatched(batch)


def _unbatched(batch: Mapping[str, Shaped[np.ndarray, "B ..."]]) -> Iterator[MixtureText]:
    tasks, drops, fields, lengths = (batch[name].tolist() for name in PASSED_THROUGH)
    for index, (task, drop, length) in enumerate(zip(tasks, drops, lengths, strict=True)):
        # copied, so that a text that waits for its row does not keep the whole batch in memory
        tokens, mask = (batch[name][index, :length].copy() for name in ("targets", "loss_mask"))
        yield MixtureText(task.decode(), drop.decode(), Encoded(tokens, mask, fields[index]))


def _name(readable: str, *decisive: object) -> str:
    """Return a name that SeqIO accepts: a readable part and a digest of `decisive`."""
    digest = hashlib.sha256(repr(decisive).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', readable)}_{digest[:16]}"
