"""SeqIO tasks: the samples of one source in one text form, as tokens."""

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.config import MixtureConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import from_row, to_row
from teacherlm_jax.data.vocabulary import Vocabulary
from teacherlm_jax.tasks.sources import Source
from teacherlm_jax.tasks.vocabulary import SeqioVocabulary

PASSED_THROUGH = ("task", "drop", "fields")  # features beside the output features; see `add_task`

CHUNK = 256  # samples that go between Python and TensorFlow at once; one by one is far slower
_SHUFFLE_BUFFER = 10_000  # examples


def add_task(
    name: str,
    source: Source,
    form: str,
    mixture: MixtureConfig,
    subject_prefix: bool,
    vocabulary: Vocabulary,
    seed: int,
) -> seqio.Task:
    """Registers a task, in place of one of the same name.

    Its examples have the output features `targets` (int32 tokens of one text, with what begins and
    ends it) and `loss_mask` (bool, as long), and three that SeqIO passes through on demand: `task`
    ("SOURCE/FORM"); `drop`, the reason why a sample makes no text in this form (then `targets` is
    empty), so that the reader of the task can count what it leaves out; and `fields`, the
    numbers of tokens that come from each of `packing.FIELDS` (int32).
    """
    seqio.TaskRegistry.remove(name)

    def render(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        texts, drops = _texts(rows, form, mixture, subject_prefix, seed)
        return *_encoded(texts, vocabulary, mixture.loss), np.array(drops, object)

    label = f"{source.config.name}/{form}"
    return seqio.TaskRegistry.add(
        name,
        source=_data_source(source, mixture.checked_only),
        preprocessors=[functools.partial(_rendered, render=render, label=label)],
        output_features={
            "targets": seqio.Feature(SeqioVocabulary(vocabulary), add_eos=True, dtype=tf.int32),
            "loss_mask": seqio.Feature(
                seqio.PassThroughVocabulary(2), add_eos=False, dtype=tf.bool
            ),
        },
        shuffle_buffer_size=_SHUFFLE_BUFFER,
    )


def _data_source(source: Source, checked_only: bool) -> seqio.FunctionDataSource:
    """A SeqIO source with one split, `train`; each {"sample"} is a chunk of samples as JSON."""

    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        del split, shuffle_files, seed  # one split, always in the files' order; the task shuffles

        def chunks() -> Iterator[dict[str, list[str]]]:
            rows = (json.dumps(to_row(sample)) for sample in source.read(checked_only))
            while chunk := list(itertools.islice(rows, CHUNK)):
                yield {"sample": chunk}

        signature = {"sample": tf.TensorSpec([None], tf.string)}
        return tf.data.Dataset.from_generator(chunks, output_signature=signature)

    return seqio.FunctionDataSource(
        dataset, splits=["train"], num_input_examples={"train": source.samples}
    )


def _rendered(
    dataset: tf.data.Dataset, *, render: Callable[[np.ndarray], tuple[np.ndarray, ...]], label: str
) -> tf.data.Dataset:
    """Preprocessor: chunks of samples to the features of a task, one example a sample."""

    def examples(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor | tf.RaggedTensor]:
        tokens, masks, lengths, fields, drops = tf.numpy_function(
            render,
            [features["sample"]],
            [tf.int32, tf.bool, tf.int32, tf.int32, tf.string],
            stateful=False,
        )
        for values in (tokens, masks, lengths, drops):
            values.set_shape([None])
        fields.set_shape([None, len(packing.FIELDS)])
        return {
            "targets": tf.RaggedTensor.from_row_lengths(tokens, lengths, validate=False),
            "loss_mask": tf.RaggedTensor.from_row_lengths(masks, lengths, validate=False),
            "fields": fields,
            "drop": drops,
            "task": tf.fill(tf.shape(lengths), label),
        }

    # as `unbatch` does, which takes a third longer
    return dataset.map(examples).flat_map(tf.data.Dataset.from_tensor_slices)


def _texts(
    rows: np.ndarray, form: str, mixture: MixtureConfig, subject_prefix: bool, seed: int
) -> tuple[list[tuple[prompts.Piece, ...]], list[bytes]]:
    """Samples in one form; for those without the explanation that it needs, no piece and why."""
    texts: list[tuple[prompts.Piece, ...]] = []
    drops = []
    for row in rows:
        sample, drop = from_row(json.loads(row)), ""
        try:
            text = prompts.pieces(
                sample, form, mixture.author, subject_prefix=subject_prefix, seed=seed
            )
        except prompts.MissingExplanation as missing:
            text = ()
            drop = f"{missing} that passed its gates" if mixture.checked_only else str(missing)
        texts.append(text)
        drops.append(drop.encode())
    return texts, drops


def _encoded(
    texts: Sequence[Sequence[prompts.Piece]], vocabulary: Vocabulary, loss: str
) -> tuple[np.ndarray, ...]:
    """Tokens and loss of all texts one after another, and their lengths and fields."""
    made = iter(packing.encode_texts([text for text in texts if text], vocabulary, loss))
    nothing = packing.Encoded((), (), (0,) * len(packing.FIELDS))
    encoded = [next(made) if text else nothing for text in texts]
    chained = itertools.chain.from_iterable
    return (
        np.array([*chained(text.tokens for text in encoded)], np.int32),
        np.array([*chained(text.loss_mask for text in encoded)], bool),
        np.array([len(text.tokens) for text in encoded], np.int32),
        np.array([text.field_tokens for text in encoded], np.int32),
    )
