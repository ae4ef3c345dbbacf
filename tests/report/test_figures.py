"""Figures show every name unchanged, even names that matplotlib would interpret."""

import html
import re

import pytest

from teacherlm_jax.report import figures

NAMES = ["$x^2$ and $", "_hidden", "a\\$b", "50% & <b>", r"$\frac{"]


def _texts(svg):
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.curves([(name, [1, 2], [2.0, 1.0]) for name in NAMES], "step", "loss"),
        lambda: figures.accuracy_bars([(name, 0.5, 0.4, 0.6) for name in NAMES], 0.3, "right, %"),
        lambda: figures.histograms([(name, [0, 2, 4], [3, 1], 1.5) for name in NAMES], "of"),
        lambda: figures.share_bars([("kind", dict.fromkeys(NAMES, 0.5))]),
        lambda: figures.share_bars([(name, {"gate": 0.5}) for name in NAMES]),
    ],
)
def test_names_are_drawn_unchanged(draw):
    texts = _texts(draw())
    assert [name for name in NAMES if name not in texts] == []


def test_the_axis_is_logarithmic_for_values_far_apart_and_starts_at_zero_otherwise():
    def ticks(low):
        return _texts(figures.curves([("a", [1, 2], [4.0, low])], "step", "loss"))

    assert "0.1" in ticks(0.02)
    assert {"0.0", "4.0"} <= set(ticks(2.0)) | set(ticks(1.0))
    assert figures.curves([("a", [1, 2], [4.0, 0.0])], "step", "loss")  # zero has no logarithm


def test_the_majority_line_does_not_cross_the_number_beside_a_bar():
    def place(high):
        svg = figures.accuracy_bars([("model", 0.3, 0.2, high)], 0.5, "right, %")
        return float(re.search(r'<text[^>]*x="([\d.]+)"[^>]*>30.0<', svg)[1])

    assert place(0.46) == place(0.48)  # both moved to the right of the line
    assert place(0.2) < place(0.46) < place(0.6)
