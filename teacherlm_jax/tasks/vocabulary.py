"""Our vocabulary as SeqIO wants it."""

from collections.abc import Sequence

import numpy as np
import seqio
import tensorflow as tf

from teacherlm_jax.data.vocabulary import UNKNOWN_ID, Vocabulary


class SeqioVocabulary(seqio.Vocabulary):
    """The ids of a `data.vocabulary.Vocabulary`, whose padding is 0 as SeqIO demands."""

    def __init__(self, vocabulary: Vocabulary):
        """Wraps `vocabulary`; two wrappers are equal when the digests are."""
        self._vocabulary = vocabulary
        super().__init__(extra_ids=0)

    @property
    def eos_id(self) -> int:
        """Id that ends a text."""
        return self._vocabulary.eos_id

    @property
    def bos_id(self) -> None:
        """No id begins a text."""
        return None

    @property
    def unk_id(self) -> int:
        """Id of what the vocabulary cannot say; bytes stand in, so that no text contains it."""
        return UNKNOWN_ID

    @property
    def _base_vocab_size(self) -> int:
        return self._vocabulary.size

    def _encode(self, s: str) -> Sequence[int]:
        return self._vocabulary.encode(s)

    def _decode(self, ids: Sequence[int]) -> str:
        return self._vocabulary.decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        def encode(given: bytes | np.ndarray) -> np.ndarray:
            text = given if isinstance(given, bytes) else given.item()  # eager mode hands an array
            return np.array(self._vocabulary.encode(text.decode()), np.int32)

        ids = tf.numpy_function(encode, [s], tf.int32, stateful=False)
        ids.set_shape([None])
        return ids

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        def decode(numbers: np.ndarray) -> bytes:
            return self._vocabulary.decode(numbers.tolist()).encode()

        text = tf.numpy_function(decode, [ids], tf.string, stateful=False)
        text.set_shape([])
        return text

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SeqioVocabulary)
            and self._vocabulary.digest == other._vocabulary.digest
        )

    def __hash__(self) -> int:
        return hash(self._vocabulary.digest)
