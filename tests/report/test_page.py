"""The figures of a page share the points that are drawn, so that it stays small."""

import re

import pytest

from teacherlm_jax.report import figures, page
from teacherlm_jax.report.blocks import Figure
from tests.make_run import make_run

RUNS, POINTS = 300, 1000
MEGABYTES = 5


def _figure(number, runs, points):
    steps = list(range(10, 10 * points + 1, 10))
    lines = [
        (f"sweep_{number}/{run}", steps, [3 / (1 + step / 900) + run / 977 for step in steps])
        for run in range(runs)
    ]
    return Figure("loss", figures.curves(lines, "step", "loss"), "Loss.", "Curves")


def _points(svg):
    return sum(path.count("L") for path in re.findall(r' d="([^"]*)"', svg))


@pytest.mark.parametrize("sweeps", [1, 15])
def test_three_hundred_runs_stay_below_five_megabytes_in_one_figure_and_in_many(tmp_path, sweeps):
    run = make_run(tmp_path / "report")
    blocks = [_figure(number, RUNS // sweeps, POINTS) for number in range(sweeps)]
    page.write(run, "Many", "300 runs.", blocks, "")
    assert (run.path / "report.html").stat().st_size < MEGABYTES * 1e6
    drawn = [_points(path.read_text()) for path in (run.path / "figures").iterdir()]
    assert len(drawn) == sweeps
    assert 10_000 < sum(drawn) < 25_000


def test_a_short_curve_is_drawn_whole_beside_many_long_ones(tmp_path):
    run = make_run(tmp_path / "report")
    blocks = [_figure(0, 100, POINTS), _figure(1, 1, 40)]
    page.write(run, "Many", "101 runs.", blocks, "")
    assert _points((run.path / "figures/loss-2.svg").read_text()) >= 39


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("2*3*4 = 24", r"2\*3\*4 = 24"),
        ("long-* and *text*", r"long-\* and \*text\*"),
        ("about ~5 and ~~6~~", r"about \~5 and \~\~6\~\~"),
        ("$3 and $4", r"\$3 and \$4"),
        ("_one_ and __two__", r"\_one\_ and \_\_two\_\_"),
        ("student_CMF and _CMF", r"student_CMF and \_CMF"),
        ("a\\b `c` [d](e) | <f> & g\nh", r"a\\b \`c\` \[d\](e) \| &lt;f> &amp; g h"),
    ],
)
def test_a_line_of_markdown_shows_every_character_of_a_text(text, line):
    assert page.markdown_line(text) == line
