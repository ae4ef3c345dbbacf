"""SeqIO's view of the vocabulary is the vocabulary itself, in Python and in TensorFlow."""

import pytest
import tensorflow as tf

from teacherlm_jax.data.vocabulary import train_sentencepiece
from teacherlm_jax.tasks.vocabulary import SeqioVocabulary

TEXTS = [" the sky is blue", " the grass is green"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return train_sentencepiece(TEXTS, tmp_path_factory.mktemp("one"), 500, seed=0)


def test_ids_are_the_same_in_python_and_in_tensorflow(plain):
    wrapped = SeqioVocabulary(plain)
    for text in (*TEXTS, " né \u2581\n"):
        ids = plain.encode(text)
        assert list(wrapped.encode(text)) == ids
        assert wrapped.encode_tf(tf.constant(text)).numpy().tolist() == ids
        assert wrapped.decode(ids) == text
        assert wrapped.decode_tf(tf.constant(ids)).numpy().decode() == text


def test_special_ids_are_those_that_seqio_demands(plain):
    wrapped = SeqioVocabulary(plain)
    assert (wrapped.pad_id, wrapped.eos_id, wrapped.bos_id, wrapped.unk_id) == (0, 1, None, 2)
    assert wrapped.vocab_size == plain.size


def test_wrappers_of_one_vocabulary_are_equal(plain, tmp_path):
    other = train_sentencepiece([" other words"], tmp_path, 500, seed=0)
    assert SeqioVocabulary(plain) == SeqioVocabulary(plain)
    assert hash(SeqioVocabulary(plain)) == hash(SeqioVocabulary(plain))
    assert SeqioVocabulary(plain) != SeqioVocabulary(other)
