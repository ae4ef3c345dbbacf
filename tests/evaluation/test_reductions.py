"""Scores of options, compared with the formulas of lm-evaluation-harness."""

import pytest

from teacherlm_jax.config.names import REDUCTIONS
from teacherlm_jax.evaluation.reductions import OptionLikelihood, text_bytes

LONG = OptionLikelihood(total=-6.0, tokens=4, bytes=12, unconditional=-5.0)
SHORT = OptionLikelihood(total=-4.0, tokens=1, bytes=6, unconditional=-1.0)


@pytest.mark.parametrize(
    ("reduction", "long", "short"),
    [("mean", -1.5, -4.0), ("sum", -6.0, -4.0), ("bytes", -0.5, -4 / 6), ("unconditional", -1, -3)],
)
def test_the_score_by_each_reduction(reduction, long, short):
    assert (LONG.score(reduction), SHORT.score(reduction)) == pytest.approx((long, short))


def test_all_scores_that_can_be_computed_are_returned_by_name():
    assert LONG.scores() == {name: LONG.score(name) for name in REDUCTIONS}
    alone = OptionLikelihood(total=-6.0, tokens=4, bytes=12)
    assert list(alone.scores()) == ["mean", "sum", "bytes"]
    with pytest.raises(ValueError, match="'unconditional'; expected one of"):
        alone.score("unconditional")
    with pytest.raises(ValueError, match="'median'"):
        LONG.score("median")


@pytest.mark.parametrize(
    ("option", "expected"), [(" yes", 3), ("A", 1), (" né", 3), ("  x", 2), (" ", 1)]
)
def test_bytes_are_counted_without_the_space_before_the_text(option, expected):
    assert text_bytes(option) == expected
