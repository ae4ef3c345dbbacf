"""Numbers with their nouns."""

import pytest

from teacherlm_jax import wording


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12345, "12,345 rows")]
)
def test_only_one_thing_has_a_noun_in_the_singular(number, words):
    assert wording.counted(number, "row") == words


def test_a_plural_may_be_irregular():
    assert [wording.counted(number, "batch", "batches") for number in (1, 3)] == [
        "1 batch",
        "3 batches",
    ]
