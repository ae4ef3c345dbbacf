"""The set of ids in a temporary file."""

from hypothesis import given
from hypothesis import strategies as st

from teacherlm_jax.sources.seen_ids import StoredIds


@given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=3)))
def test_it_has_the_ids_that_a_set_has(ids):
    stored, expected = StoredIds(), set()
    for id in ids:
        assert (id in stored) == (id in expected)
        stored.add(id)
        expected.add(id)
        assert len(stored) == len(expected)
