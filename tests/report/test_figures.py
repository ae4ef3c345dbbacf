"""Figures show every name unchanged, fit their axes to the data, and keep all numbers."""

import html
import re

import pytest

from teacherlm_jax.report import figures

NAMES = ["$x^2$ and $", "_hidden", "a\\$b", "50% & <b>", r"$\frac{", "a.b[0]"]


def _texts(svg):
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


LONG = 40  # letters


def _curves(names):
    return figures.curves([(name, [1, 2], [2.0, 1.0]) for name in names], "step", "loss")


def _intervals(names):
    return figures.intervals([(name, 0.5, 0.4, 0.6) for name in names], 0.3, "right, %")


def _histograms(names):
    return figures.histograms([(name, [0, 2, 4], [3, 1], 1.5) for name in names], "of")


def _gates(names):
    return figures.share_dots([("kind", dict.fromkeys(names, 0.5))])


def _groups(names):
    return figures.share_dots([(name, {"gate": 0.5}) for name in names])


EVERY_FIGURE = pytest.mark.parametrize("draw", [_curves, _intervals, _histograms, _gates, _groups])


@EVERY_FIGURE
def test_names_are_drawn_unchanged(draw):
    texts = _texts(draw(NAMES).svg)
    assert [name for name in NAMES if name not in texts] == []


@EVERY_FIGURE
@pytest.mark.parametrize("filling", ["n", "W"])
@pytest.mark.parametrize("at", [0, 20, LONG - 1])
def test_long_names_that_differ_in_one_letter_have_different_labels(draw, filling, at):
    names = [filling * at + digit + filling * (LONG - 1 - at) for digit in "123"]
    shown = [text for text in _texts(draw(names).svg) if filling * 3 in text]
    assert len(shown) == len(set(shown)) == len(names)


def test_the_axis_is_logarithmic_for_values_far_apart_and_starts_at_zero_otherwise():
    def ticks(low):
        return _texts(figures.curves([("a", [1, 2], [4.0, low])], "step", "loss").svg)

    assert "0.02" in ticks(0.02) and "0" not in ticks(0.02)
    assert {"0", "4"} <= set(ticks(2.0))
    assert figures.curves([("a", [1, 2], [4.0, 0.0])], "step", "loss").svg  # has no logarithm


def test_the_axis_of_accuracies_fits_them_and_the_baseline():
    drawing = figures.intervals([("a", 0.81, 0.8, 0.82), ("b", 0.84, 0.83, 0.85)], 0.79, "right, %")
    ticks = [float(text) for text in _texts(drawing.svg) if re.fullmatch(r"[\d.]+", text)]
    assert min(ticks) > 77 and max(ticks) < 87
    assert drawing.rows[0] == ("a", 81.0, 80.0, 82.0, 79.0)


def test_a_figure_of_many_points_is_thinned_but_its_numbers_are_not():
    steps = list(range(5000))
    lines = [(f"run {index}", steps, [1 + 1 / (step + 1) for step in steps]) for index in range(10)]
    drawing = figures.curves(lines, "step", "loss")
    data = drawing.data()
    assert len(data["steps"]) == 1  # shared by all curves
    assert [len(values) for _, _, values in data["curves"]] == [5000] * 10
    points = sum(path.count("L") for path in re.findall(r' d="([^"]*)"', drawing.svg))
    assert 10_000 < points < 25_000


def test_a_curve_of_one_point_is_drawn():
    assert figures.curves([("a", [1], [2.0])], "step", "loss").svg


def test_the_same_figure_gives_the_same_bytes():
    def svg():
        return figures.intervals([("a", 0.5, 0.4, 0.6)], 0.3, "right, %").svg

    assert svg() == svg()
    assert "#" not in re.sub(r"var\([^)]*\)", "", svg())  # colours follow the page
