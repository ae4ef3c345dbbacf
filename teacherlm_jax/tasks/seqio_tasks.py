"""SeqIO tasks: the samples of one source in one text form, as tokens."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import seqio
import tensorflow as tf

from teacherlm_jax.data import packing
from teacherlm_jax.tasks.chunks import Chunk, Rendering, chunked, encode_chunk
from teacherlm_jax.tasks.seqio_vocabulary import SeqioVocabulary
from teacherlm_jax.tasks.surveyed_source import Source
from teacherlm_jax.tokenization.vocabulary import Vocabulary

PASSED_THROUGH = ("task", "drop", "fields")  # features beside the output features; see `add_task`

_SHUFFLE_BUFFER = 10_000  # examples
_SIGNATURE = {  # of a chunk
    "tokens": tf.TensorSpec([None], tf.int32),
    "loss_mask": tf.TensorSpec([None], tf.bool),
    "lengths": tf.TensorSpec([None], tf.int32),
    "fields": tf.TensorSpec([None, len(packing.FIELDS)], tf.int32),
    "drops": tf.TensorSpec([None], tf.string),
}


@dataclasses.dataclass(frozen=True)
class TextTask:
    """What a SeqIO task of ours consists of.

    Attributes:
        name: in SeqIO's registry; it carries a digest of everything that decides the examples.
        source: whose samples.
        rendering: what becomes of them.
    """

    name: str
    source: Source
    rendering: Rendering

    @property
    def label(self) -> str:
        """What manifests call it."""
        return f"{self.source.config.name}/{self.rendering.form}"

    def chunks(self, vocabulary: Vocabulary) -> Iterator[Chunk]:
        """Yields all its texts, in the order of the source."""
        for samples in chunked(self.source.read(self.rendering.mixture.checked_only)):
            yield encode_chunk(samples, self.rendering, vocabulary)


def add_task(
    task: TextTask, vocabulary: Vocabulary, chunks: Callable[[], Iterable[Chunk]]
) -> seqio.Task:
    """Registers a task, in place of one of the same name; `chunks` gives its texts, each time.

    Its examples have the output features `targets` (int32 tokens of one text, with what begins and
    ends it) and `loss_mask` (bool, as long), and three that SeqIO passes through on demand: `task`
    ("SOURCE/FORM"); `drop`, the reason why a sample makes no text in this form (then `targets` is
    empty), so that the reader of the task can count what it leaves out; and `fields`, the
    numbers of tokens that come from each of `packing.FIELDS` (int32).
    """
    seqio.TaskRegistry.remove(task.name)
    return seqio.TaskRegistry.add(
        task.name,
        source=_data_source(chunks, task.source.samples),
        preprocessors=[functools.partial(_unravelled, label=task.label)],
        output_features={
            "targets": seqio.Feature(SeqioVocabulary(vocabulary), add_eos=True, dtype=tf.int32),
            "loss_mask": seqio.Feature(
                seqio.PassThroughVocabulary(2), add_eos=False, dtype=tf.bool
            ),
        },
        shuffle_buffer_size=_SHUFFLE_BUFFER,
    )


def _data_source(chunks: Callable[[], Iterable[Chunk]], samples: int) -> seqio.FunctionDataSource:
    """A SeqIO source with one split, `train`, whose elements are chunks."""

    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del split, shuffle_files, seed  # one split, always in the files' order; the task shuffles
        return tf.data.Dataset.from_generator(
            lambda: (chunk._asdict() for chunk in chunks()), output_signature=_SIGNATURE
        )

    return seqio.FunctionDataSource(
        dataset, splits=["train"], num_input_examples={"train": samples}
    )


def _unravelled(dataset: tf.data.Dataset, *, label: str) -> tf.data.Dataset:
    """Preprocessor: chunks to the features of a task, one example a sample.

    With ragged tensors, or a `map` that TensorFlow sees outside of `flat_map` and runs in threads,
    it takes five times as long.
    """

    def examples(chunk: dict[str, tf.Tensor]) -> tf.data.Dataset:
        long = {"targets": chunk["tokens"], "loss_mask": chunk["loss_mask"]}
        short = {
            "fields": chunk["fields"],
            "drop": chunk["drops"],
            "task": tf.fill(tf.shape(chunk["lengths"]), label),
        }
        lengths = tf.cast(chunk["lengths"], tf.int64)
        texts = tf.data.Dataset.from_tensors(long).rebatch(lengths)
        told = tf.data.Dataset.from_tensor_slices(short)
        return tf.data.Dataset.zip((texts, told)).map(lambda text, more: text | more)

    return dataset.flat_map(examples)
