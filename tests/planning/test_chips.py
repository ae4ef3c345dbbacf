"""Published figures of TPU chips, and those of the documentation."""

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.planning import chips
from tests import doc_tables


def test_an_unknown_chip_is_refused_with_the_known_ones():
    fault = "--topology=h100:8: unknown chip 'h100'; expected one of v5e, v5p, v6e, as in"
    with pytest.raises(UserError, match=fault):
        chips.parse("h100:8")


def test_the_documentation_shows_the_figures_of_the_code():
    rows = doc_tables.rows_of("tpu-slices.md", r"v\d\w")
    assert {name for name, *_ in rows} == set(chips.CHIPS)
    for name, *cells, _ in rows:
        chip = chips.CHIPS[name]
        in_code = [chip.peak / 1e12, chip.hbm, chip.usable, chip.bandwidth / 1e9, chip.links / 1e9]
        assert doc_tables.numbers(cells) == pytest.approx([*in_code, chip.most]), name
