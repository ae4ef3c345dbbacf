"""SeqIO mixtures: some sources in some text forms, each text once, in one shuffled order."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence

import seqio
import tensorflow as tf

from teacherlm_jax.config import MixtureConfig
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.data.vocabulary import Vocabulary
from teacherlm_jax.tasks.sources import Source
from teacherlm_jax.tasks.tasks import PASSED_THROUGH, add_task


@dataclasses.dataclass(frozen=True)
class Text:
    """One example of a mixture: its task ("SOURCE/FORM"), and a text or the reason for none."""

    task: str
    drop: str
    encoded: Encoded


def used_sources(config: MixtureConfig, sources: Sequence[Source]) -> list[Source]:
    """Those of `sources` that the mixture draws on: the ones it names, or all."""
    return [
        source for source in sources if not config.sources or source.config.name in config.sources
    ]


def add_mixture(
    config: MixtureConfig, sources: Sequence[Source], vocabulary: Vocabulary, seed: int
) -> seqio.Mixture:
    """Registers a mixture and its tasks, one for each source and form, in place of earlier ones.

    Tasks are mixed in proportion to their numbers of examples, until all of them have run out.
    Names carry a digest of everything that decides the examples.
    """
    tasks = []
    for source in used_sources(config, sources):
        for form in config.forms:
            decided = (config, source, form, vocabulary.digest, seed)
            name = _name(f"{config.name}_{source.config.name}_{form}", *decided)
            tasks.append(add_task(name, source, form, config, vocabulary, seed).name)
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
    for example in dataset.as_numpy_iterator():
        yield Text(
            task=example["task"].decode(),
            drop=example["drop"].decode(),
            encoded=Encoded(example["targets"], example["loss_mask"]),
        )


def _name(readable: str, *decided: object) -> str:
    """A name that SeqIO accepts: the readable part and a digest of what stands behind it."""
    digest = hashlib.sha256(repr(decided).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_]', '_', readable)}_{digest[:16]}"
