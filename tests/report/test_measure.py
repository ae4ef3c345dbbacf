"""Numbers of options and histograms of a dataset."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.report import measure


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({0: 9}, "–"),
        ({5: 9}, "5"),
        ({2: 1, 5: 9}, "2 and 5"),
        ({2: 1, 3: 1, 9: 1}, "2 to 9"),
        ({0: 1, 4: 1}, "4, –"),
    ],
)
def test_numbers_of_options_fit_into_one_cell(options, shown):
    assert measure.options_text(Counter(options)) == shown


LENGTHS = st.dictionaries(st.integers(0, 300), st.integers(1, 9), min_size=1).map(Counter)


@given(lengths=LENGTHS, longest=st.integers(1, 400))
def test_every_text_is_counted_in_its_bar_and_longer_ones_in_the_last(lengths, longest):
    edges, counts = measure.histogram(lengths, longest)
    assert sum(counts) == lengths.total()
    assert edges[0] == 0 and edges[-1] > longest
    for low, high, count in list(zip(edges, edges[1:], counts, strict=False))[:-1]:
        assert count == sum(texts for size, texts in lengths.items() if low <= size < high)
