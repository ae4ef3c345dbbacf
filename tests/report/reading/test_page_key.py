"""The key of a page: sides by seed, hidden from a casual reader."""

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.report.reading import page_key
from teacherlm_jax.report.reading.joined_samples import RatedTeacher
from teacherlm_jax.report.reading.page_key import PageKey

TEACHERS = (RatedTeacher("runs/one", "runs/one", "teacher"), RatedTeacher("b", "b", "human"))
SAMPLES = [("creak", f"s-{number}") for number in range(2000)]


def test_half_of_the_samples_of_a_blind_page_are_swapped_by_the_seed():
    orders = [tuple(PageKey(TEACHERS, True, 0).order(sample)) for sample in SAMPLES]
    assert set(orders) == {(0, 1), (1, 0)}
    assert abs(orders.count((1, 0)) / len(orders) - 0.5) < 0.05
    assert orders == [tuple(PageKey(TEACHERS, True, 0).order(sample)) for sample in SAMPLES]
    assert orders != [tuple(PageKey(TEACHERS, True, 1).order(sample)) for sample in SAMPLES]


def test_the_sides_of_an_open_page_stay():
    assert all(tuple(PageKey(TEACHERS, False, 0).order(s)) == (0, 1) for s in SAMPLES)


def test_one_teacher_has_one_side():
    assert tuple(PageKey(TEACHERS[:1], True, 0).order(SAMPLES[1])) == (0,)


def test_a_key_is_read_back_and_tells_nothing_at_a_glance():
    key = PageKey(TEACHERS, True, 7)
    text = key.encoded()
    assert page_key.decoded(text, "f:1") == key
    assert "one" not in text and "teacher" not in text


@pytest.mark.parametrize("text", ["", "None", "eJw=", PageKey(TEACHERS, True, 0).encoded()[:-8]])
def test_a_damaged_key_is_refused_with_its_place(text):
    with pytest.raises(UserError, match="^f:1: the key of the page is damaged"):
        page_key.decoded(text, "f:1")
