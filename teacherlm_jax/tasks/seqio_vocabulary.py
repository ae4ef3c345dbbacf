"""Adapter of a vocabulary to SeqIO's interface."""

from collections.abc import Iterable, Sequence

import numpy as np
import seqio
import tensorflow as tf
from jaxtyping import Int32, Integer, Shaped

from teacherlm_jax.tokenization.vocabulary import Vocabulary


class SeqioVocabulary(seqio.Vocabulary):
    """A `tokenization.vocabulary.Vocabulary` for SeqIO, which requires the padding id 0."""

    def __init__(self, vocabulary: Vocabulary):
        """Wrap `vocabulary`; two wrappers are equal if the digests of their vocabularies are."""
        self._vocabulary = vocabulary
        super().__init__(extra_ids=0)

    @property
    def eos_id(self) -> int:
        """Id that ends a text."""
        return self._vocabulary.eos_id

    @property
    def bos_id(self) -> int | None:
        """First id before every text, or None; `encode` does not add it."""
        return next(iter(self._vocabulary.begin), None)

    @property
    def unk_id(self) -> int | None:
        """Id of an unknown token, or None; texts never contain it, since bytes have ids."""
        return self._vocabulary.unknown_id

    @property
    def _base_vocab_size(self) -> int:
        return self._vocabulary.size

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids` up to the first `eos_id`.

        Ids that begin a text are skipped first, because OPT begins and ends texts with the same id.
        """
        numbers = np.asarray(ids, np.int64).tolist()
        begin = list(self._vocabulary.begin)
        return super().decode(numbers[len(begin) :] if numbers[: len(begin)] == begin else numbers)

    def decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        """Decode the last axis of int32 ids of any rank, as `decode` does."""
        begin = tf.constant(self._vocabulary.begin, ids.dtype)
        count = len(self._vocabulary.begin)
        if count and ids.shape[-1] != 0:
            begins = tf.reduce_all(ids[..., :count] == begin, axis=-1, keepdims=True)
            head = tf.where(begins, self.pad_id, ids[..., :count])
            ids = tf.concat([head, ids[..., count:]], axis=-1)
        return super().decode_tf(ids)

    def _encode(self, s: str) -> Sequence[int]:
        return self._vocabulary.encode(s)

    def _decode(self, ids: Sequence[int]) -> str:
        return self._vocabulary.decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
        """Return the ids of a string, or the ids of each of several strings as a ragged tensor."""

        def encode(
            texts: Shaped[np.ndarray, " texts"],
        ) -> tuple[Int32[np.ndarray, " tokens"], Int32[np.ndarray, " texts"]]:
            ids = [self._vocabulary.encode(text.decode()) for text in texts]
            lengths = np.array([len(row) for row in ids], np.int32)
            return np.array([id for row in ids for id in row], np.int32), lengths

        flat, lengths = tf.numpy_function(
            encode, [tf.reshape(s, [-1])], [tf.int32, tf.int32], stateful=False
        )
        flat.set_shape([None])
        lengths.set_shape([None])
        if s.shape.rank == 0:
            return flat
        return tf.RaggedTensor.from_row_lengths(flat, lengths, validate=False)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        def decode(numbers: Integer[np.ndarray, "*texts T"]) -> Shaped[np.ndarray, "*texts"]:
            rows = numbers.reshape(-1, numbers.shape[-1]).tolist()
            texts = [self._vocabulary.decode(row).encode() for row in rows]
            return np.array(texts, object).reshape(numbers.shape[:-1])

        text = tf.numpy_function(decode, [ids], tf.string, stateful=False)
        text.set_shape(ids.shape[:-1])
        return text

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SeqioVocabulary)
            and self._vocabulary.digest == other._vocabulary.digest
        )

    def __hash__(self) -> int:
        return hash(self._vocabulary.digest)
