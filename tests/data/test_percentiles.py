from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.data.percentiles import percentile

LENGTHS = st.dictionaries(st.integers(0, 300), st.integers(1, 9), min_size=1).map(Counter)


@given(lengths=LENGTHS, share=st.floats(0.01, 1))
def test_a_percentile_is_the_smallest_length_that_enough_texts_do_not_exceed(lengths, share):
    actual = percentile(lengths, share)
    below = sum(texts for size, texts in lengths.items() if size < actual)
    assert below < share * lengths.total() <= below + lengths[actual]


@pytest.mark.parametrize(
    ("share", "value"), [(0.01, 3), (0.5, 3), (0.51, 7), (0.9, 7), (0.99, 100), (1, 100)]
)
def test_percentiles_are_lengths_that_occur(share, value):
    assert percentile({7: 48, 100: 2, 3: 50}, share) == value


def test_nothing_has_no_percentile():
    with pytest.raises(ValueError, match="at least one length"):
        percentile({}, 0.5)
