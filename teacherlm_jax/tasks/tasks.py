"""SeqIO tasks: the samples of one source in one text form, as tokens."""

import functools
import json
from collections.abc import Callable

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.config import MixtureConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import from_row
from teacherlm_jax.data.vocabulary import Vocabulary
from teacherlm_jax.tasks.sources import CHUNK, Source, data_source
from teacherlm_jax.tasks.vocabulary import SeqioVocabulary

PASSED_THROUGH = ("task", "drop")  # features beside the output features; see `add_task`

Rendered = tuple[np.ndarray, np.ndarray, bytes]  # tokens, loss mask, and why there are none

_SHUFFLE_BUFFER = 10_000  # examples


def add_task(
    name: str,
    source: Source,
    form: str,
    mixture: MixtureConfig,
    vocabulary: Vocabulary,
    seed: int,
) -> seqio.Task:
    """Registers a task, in place of one of the same name.

    Its examples have the output features `targets` (int32 tokens of one text, with what begins and
    ends it) and `loss_mask` (bool, as long), and two strings that SeqIO passes through on
    demand: `task` ("SOURCE/FORM") and `drop`, the reason why a sample makes no text in this form
    (then `targets` is empty), so that the reader of the task can count what it leaves out.
    """
    seqio.TaskRegistry.remove(name)
    render = functools.partial(
        _render, form=form, mixture=mixture, vocabulary=vocabulary, seed=seed
    )
    label = f"{source.config.name}/{form}"
    return seqio.TaskRegistry.add(
        name,
        source=data_source(source, mixture.checked_only),
        preprocessors=[functools.partial(_rendered, render=render, label=label)],
        output_features={
            "targets": seqio.Feature(SeqioVocabulary(vocabulary), add_eos=True, dtype=tf.int32),
            "loss_mask": seqio.Feature(
                seqio.PassThroughVocabulary(2), add_eos=False, dtype=tf.bool
            ),
        },
        shuffle_buffer_size=_SHUFFLE_BUFFER,
    )


def _rendered(
    dataset: tf.data.Dataset, *, render: Callable[[bytes], Rendered], label: str
) -> tf.data.Dataset:
    """Preprocessor: {"sample"} to the features of a task."""

    def render_chunk(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        tokens, masks, drops = zip(*map(render, rows), strict=True)
        lengths = np.array([len(text) for text in tokens], np.int32)
        return np.concatenate(tokens), np.concatenate(masks), lengths, np.array(drops, object)

    def examples(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor | tf.RaggedTensor]:
        tokens, masks, lengths, drops = tf.numpy_function(
            render_chunk,
            [features["sample"]],
            [tf.int32, tf.bool, tf.int32, tf.string],
            stateful=False,
        )
        for values in (tokens, masks, lengths, drops):
            values.set_shape([None])
        return {
            "targets": tf.RaggedTensor.from_row_lengths(tokens, lengths, validate=False),
            "loss_mask": tf.RaggedTensor.from_row_lengths(masks, lengths, validate=False),
            "drop": drops,
            "task": tf.fill(tf.shape(lengths), label),
        }

    return dataset.batch(CHUNK).map(examples).unbatch()


def _render(
    row: bytes, *, form: str, mixture: MixtureConfig, vocabulary: Vocabulary, seed: int
) -> Rendered:
    """One sample in one form; without the explanation that the form needs, the reason for that."""
    sample = from_row(json.loads(row))
    try:
        text = prompts.pieces(
            sample, form, mixture.author, subject_prefix=mixture.subject_prefix, seed=seed
        )
    except prompts.MissingExplanation as missing:
        reason = f"{missing} that passed its gates" if mixture.checked_only else str(missing)
        return np.zeros(0, np.int32), np.zeros(0, bool), reason.encode()
    encoded = packing.encode_pieces(text, vocabulary, mixture.loss)
    return np.array(encoded.tokens, np.int32), np.array(encoded.loss_mask, bool), b""
