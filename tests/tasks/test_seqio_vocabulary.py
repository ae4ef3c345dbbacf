"""A vocabulary wrapped for SeqIO gives the same ids and texts, in Python and in TensorFlow."""

import pytest
import tensorflow as tf

from teacherlm_jax.tasks.seqio_vocabulary import SeqioVocabulary
from teacherlm_jax.tokenization.vocabulary import open_vocabulary, train_sentencepiece

TEXTS = [" the sky is blue", "", " the grass is green", " né \u2581\n</s> 漢"]


@pytest.fixture(params=["vocabulary", "opt_like"])
def plain(request):
    """A vocabulary of each kind."""
    value = request.getfixturevalue(request.param)
    return value if request.param == "vocabulary" else open_vocabulary(value)


def test_ids_are_the_same_in_python_and_in_tensorflow(plain):
    wrapped = SeqioVocabulary(plain)
    for text in TEXTS:
        ids = plain.encode(text)
        assert list(wrapped.encode(text)) == ids
        assert wrapped.encode_tf(tf.constant(text)).numpy().tolist() == ids
        assert wrapped.decode(ids) == text
        assert wrapped.decode_tf(tf.constant(ids, tf.int32)).numpy().decode() == text


def test_a_batch_of_texts_becomes_a_ragged_batch_of_ids(plain):
    wrapped = SeqioVocabulary(plain)
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(3).map(wrapped.encode_tf)
    rows = [row for batch in dataset for row in batch.to_list()]
    assert rows == [plain.encode(text) for text in TEXTS]


def test_a_text_is_decoded_up_to_its_eos_id(plain):
    wrapped = SeqioVocabulary(plain)
    whole = [[*plain.begin, *plain.encode(t), plain.eos_id, *plain.encode(" x")] for t in TEXTS]
    assert [wrapped.decode(ids) for ids in whole] == TEXTS
    assert [wrapped.decode(tf.constant(ids)) for ids in whole] == TEXTS
    padded = tf.ragged.constant(whole, tf.int32).to_tensor()
    assert [text.decode() for text in wrapped.decode_tf(padded).numpy()] == TEXTS


def test_special_ids_have_the_names_of_seqio(vocabulary, opt_like):
    wrapped = SeqioVocabulary(vocabulary)
    assert (wrapped.pad_id, wrapped.eos_id, wrapped.bos_id, wrapped.unk_id) == (0, 1, None, 2)
    assert wrapped.vocab_size == vocabulary.size
    wrapped = SeqioVocabulary(open_vocabulary(opt_like))
    assert (wrapped.pad_id, wrapped.eos_id, wrapped.bos_id, wrapped.unk_id) == (0, 2, 2, None)
    assert wrapped.vocab_size == 500


def test_wrappers_of_one_vocabulary_are_equal(plain, tmp_path):
    other = train_sentencepiece([" other words"], tmp_path, 500, seed=0)
    assert SeqioVocabulary(plain) == SeqioVocabulary(plain)
    assert hash(SeqioVocabulary(plain)) == hash(SeqioVocabulary(plain))
    assert SeqioVocabulary(plain) != SeqioVocabulary(other)
