"""SeqIO tasks: the samples of one source in one text form, as tokens."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator

import seqio
import tensorflow as tf

from teacherlm_jax.data import packing
from teacherlm_jax.tasks.chunks import Chunk, Rendering, chunked, encode_chunk
from teacherlm_jax.tasks.seqio_vocabulary import SeqioVocabulary
from teacherlm_jax.tasks.surveyed_source import SurveyedSource
from teacherlm_jax.tokenization.vocabulary import Vocabulary

PASSED_THROUGH = (
    "task",
    "drop",
    "fields",
    "length",
)  # features that are not output features; see `add_task`

_SHUFFLE_BUFFER = 10_000  # examples
_SIGNATURE = {  # the TensorFlow types of a Chunk
    "tokens": tf.TensorSpec([None], tf.int32),
    "loss_mask": tf.TensorSpec([None], tf.bool),
    "lengths": tf.TensorSpec([None], tf.int32),
    "fields": tf.TensorSpec([None, len(packing.FIELDS)], tf.int32),
    "drops": tf.TensorSpec([None], tf.string),
}


@dataclasses.dataclass(frozen=True)
class TextTask:
    """A SeqIO task: the samples of one source in one text form.

    Attributes:
        name: name in SeqIO's registry, with a digest of everything that decides the examples.
        source: provides the samples.
        rendering: turns samples into texts.
    """

    name: str
    source: SurveyedSource
    rendering: Rendering

    @property
    def label(self) -> str:
        """Name of the task in manifests, "SOURCE/FORM"."""
        return f"{self.source.config.name}/{self.rendering.form}"

    def chunks(self, vocabulary: Vocabulary) -> Iterator[Chunk]:
        """Yield all texts of the task, in the order of the source."""
        for samples in chunked(self.source.read(self.rendering.mixture.checked_only)):
            yield encode_chunk(samples, self.rendering, vocabulary)


def add_task(
    task: TextTask, vocabulary: Vocabulary, chunks: Callable[[], Iterable[Chunk]]
) -> seqio.Task:
    """Register a task, replacing one of the same name; `chunks` yields its texts from the start.

    Its examples have two output features: `targets`, the int32 tokens of one text with its special
    tokens, and `loss_mask`, bool of the same length. SeqIO passes four others through on demand:
    `task` is "SOURCE/FORM"; `drop` is the reason why a sample gives no text in this form (`targets`
    is then empty), which the reader counts; `fields` holds the int32 numbers of tokens that come
    from each of `packing.FIELDS`; and `length` is the int32 number of tokens.
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
    """Return a SeqIO source with one split, `train`, whose elements are chunks."""

    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del split, shuffle_files, seed  # there is one split, in file order; the task shuffles it
        return tf.data.Dataset.from_generator(
            lambda: (chunk._asdict() for chunk in chunks()), output_signature=_SIGNATURE
        )

    return seqio.FunctionDataSource(
        dataset, splits=["train"], num_input_examples={"train": samples}
    )


def _unravelled(dataset: tf.data.Dataset, *, label: str) -> tf.data.Dataset:
    """Split chunks into the examples of a task, one per sample; a SeqIO preprocessor.

    Ragged tensors, or a `map` outside of `flat_map` that TensorFlow runs in threads, would take
    five times as long.
    """

    def examples(chunk: dict[str, tf.Tensor]) -> tf.data.Dataset:
        long = {"targets": chunk["tokens"], "loss_mask": chunk["loss_mask"]}
        short = {
            "fields": chunk["fields"],
            "drop": chunk["drops"],
            "length": chunk["lengths"],
            "task": tf.fill(tf.shape(chunk["lengths"]), label),
        }
        lengths = tf.cast(chunk["lengths"], tf.int64)
        texts = tf.data.Dataset.from_tensors(long).rebatch(lengths)
        rest = tf.data.Dataset.from_tensor_slices(short)
        return tf.data.Dataset.zip((texts, rest)).map(lambda text, more: text | more)

    return dataset.flat_map(examples)
