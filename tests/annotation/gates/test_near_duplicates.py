"""Texts with known similarities: which are found, in any order, with how much memory."""

import random
import tracemalloc

import numpy as np
import pytest

from teacherlm_jax.annotation.gates import near_duplicates
from teacherlm_jax.annotation.gates.near_duplicates import SKETCH, NearDuplicates
from teacherlm_jax.annotation.gates.text_faults import words
from teacherlm_jax.storage import files

BEE = (
    "A bee has a heart that is a long tube, and it pumps the blood from the back of the body "
    "to the head, so it has no chambers like those of a mammal, and the statement is false."
)


def _trigrams(text):
    own = words(text)
    return {tuple(own[start : start + 3]) for start in range(len(own) - 2)}


def _similarity(one, other):
    one, other = _trigrams(one), _trigrams(other)
    return len(one & other) / len(one | other)


def _found(texts):
    detector = NearDuplicates()
    for position, text in enumerate(texts):
        detector.add(position, text)
    return detector.duplicates()


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], set()),
        ([BEE], set()),
        ([BEE, BEE], {1}),
        ([BEE, "Ants have no lungs.", BEE.upper().replace(",", " -"), BEE], {2, 3}),
        ([BEE, BEE.replace("false", "wrong")], {1}),
        ([BEE, BEE.replace("bee", "fly").replace("blood", "fluid").replace("head", "end")], set()),
        (["Yes.", "yes", "No."], {1}),
        (["", " ", "?!"], set()),
        (["猫有四条腿，狗也有四条腿，鸟只有两条腿。"] * 2, {1}),
    ],
)
def test_a_text_that_resembles_an_earlier_one_is_a_duplicate(texts, expected):
    assert _found(texts) == expected


def _edited(rng, text, edits):
    own = text.split()
    for place in rng.sample(range(len(own)), edits):
        own[place] = f"new{rng.randrange(10**9)}"
    return " ".join(own)


@pytest.fixture(scope="module")
def family():
    """Random texts of 90 words, each followed by a copy with 0 to 12 edited words."""
    rng = random.Random(0)
    vocabulary = [f"word{number}" for number in range(2000)]
    texts = []
    for number in range(1300):
        text = " ".join(rng.choices(vocabulary, k=90))
        texts += [text, _edited(rng, text, number % 13)]
    return texts


def test_texts_are_found_by_their_exact_similarity(family):
    """The estimate has a standard error of 0.04: three times that is as good as certain."""
    found = _found(family)
    assert not any(position % 2 == 0 for position in found)
    similarities = {n: _similarity(family[n - 1], family[n]) for n in range(1, len(family), 2)}
    near = {position for position, value in similarities.items() if value >= 0.92}
    far = {position for position, value in similarities.items() if value <= 0.68}
    assert len(near) > 100 and len(far) > 100
    assert near <= found
    assert not far & found
    limit = {position for position, value in similarities.items() if value >= 0.8}
    assert len(found ^ limit) < 0.1 * len(similarities)


def test_the_result_does_not_depend_on_the_order_of_arrival(family):
    positions = list(range(len(family)))
    random.Random(1).shuffle(positions)
    detector = NearDuplicates()
    for position in positions[:1000]:
        detector.add(position, family[position])
    rest = positions[1000:]
    sketches = np.stack([near_duplicates.sketch(family[position]) for position in rest])
    detector.add_sketches(rest, sketches)
    assert len(detector) == len(family)
    assert detector.duplicates() == _found(family)


def test_rows_that_are_added_later_change_no_verdict(family):
    half = _found(family[:1300])
    assert {position for position in _found(family) if position < 1300} == half


def test_many_similar_texts_are_compared_in_bounded_time():
    """Texts of one template share most of their bands; each is compared with 33 others."""
    texts = [f"{BEE} This is text number {number} of all." for number in range(2000)]
    found = _found(texts)
    assert 0 not in found
    assert len(found) == 1999


@pytest.mark.parametrize(("original", "between"), [(0, 40), (1, 0), (20, 30)])
def test_texts_that_share_one_band_with_others_are_compared(original, between):
    """The copy differs from its original in one byte of every band but the first."""
    count = original + between + 2
    sketches = np.random.default_rng(0).integers(0, 256, (count, SKETCH), np.uint8)
    sketches[:, :6] = 7  # the first band of all
    sketches[-1] = sketches[original]
    sketches[-1, 6::6] += 1
    detector = NearDuplicates()
    detector.add_sketches(range(count), sketches)
    assert detector.duplicates() == {count - 1}


def test_memory_is_128_bytes_per_text():
    count = 100_000
    sketches = np.random.default_rng(0).integers(0, 256, (count, SKETCH), np.uint8)
    tracemalloc.start()
    try:
        detector = NearDuplicates()
        for start in range(0, count, 1000):
            detector.add_sketches(range(start, start + 1000), sketches[start : start + 1000])
        kept, _ = tracemalloc.get_traced_memory()
        assert detector.duplicates() == set()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 150 * count  # a growing buffer reserves an eighth
    assert peak - kept < 130 * count


def test_two_texts_with_one_position_are_refused():
    detector = NearDuplicates()
    detector.add(3, BEE)
    detector.add(3, "Ants have no lungs.")
    with pytest.raises(ValueError, match="two texts have the position 3"):
        detector.duplicates()


def test_human_texts_on_other_subjects_are_not_duplicates(shared_data):
    """Two of StrategyQA's 1,859 chains of thought are almost equal."""
    rows = [row for _, row in files.read_jsonl(shared_data / "rationale/strategyqa_train.jsonl")]
    texts = [row["cot"] for row in rows]
    (position,) = _found(texts)
    assert max(_similarity(texts[position], text) for text in texts[:position] if text) > 0.8
