"""The figures of the study of stages and explanations."""

import re

import pytest
import vl_convert

from benchmarks.evidence import figures
from teacherlm_jax.data.sample import KINDS

CORRECT = ["chains of thought, correct", "fundamentals, correct", "common mistakes, correct"]


def teachers(size="medium"):
    """Return outcomes of teachers of two seeds, and those of their explanations."""
    stages, writers = ("no_stage", "stage2"), ("no_stage", "stage2", "specialists")
    return {
        "teachers": [
            {"size": size, "stage": stage, "seed": seed, "trained": 0.5 + seed, "unseen": 0.4}
            for stage in stages
            for seed in (0, 1)
        ],
        "explained": [
            {"size": size, "writer": writer, "seed": seed, "correct": dict.fromkeys(KINDS, 0.5)}
            for writer in writers
            for seed in (0, 1)
        ],
    }


@pytest.mark.parametrize(
    ("question", "arms", "panels", "names"),
    [
        ("students", ("text", "CMF", "C"), 2, ["CMF", "C"]),
        ("causes", ("CMF", "CMF-false25", "CMF-answer"), 2, ["CMF-false25", "CMF-answer"]),
        ("taught", ("taught-CMF", "taught-text"), 2, ["taught-text"]),
        ("stages", (), 2, ["accuracy", "accuracy, held-out families", *CORRECT]),
    ],
)
def test_each_question_has_a_figure_with_a_panel_for_each_comparison(question, arms, panels, names):
    curve, cost = [(100, 0.4), (200, 0.5)], {"steps": 200, "tokens": 900, "pass_tokens": 300}
    students = [
        {"arm": arm, "amount": 1000, "seed": seed, "curve": curve, **cost}
        for arm in arms
        for seed in (0, 1)
    ]
    rows = {"students": students, "bases": [], **teachers()}
    found = {one.name: one for one in figures.questions(rows)}
    points = found[question].points
    assert len({(point["column"], point["row"]) for point in points}) == panels
    assert list(dict.fromkeys(point["name"] for point in points)) == names
    svg = vl_convert.vegalite_to_svg(figures.drawn(found[question]).to_json())
    assert len(re.findall(r'aria-roledescription="point"', svg)) == len(points)


def test_a_question_without_outcomes_has_no_points():
    rows = {"students": [], "bases": [], "teachers": [], "explained": []}
    assert not any(question.points for question in figures.questions(rows))


def test_an_arm_without_an_interval_is_not_drawn():
    curve, cost = [(100, 0.4), (200, 0.5)], {"steps": 200, "tokens": 900, "pass_tokens": 300}
    students = [
        {"arm": arm, "amount": 1000, "seed": 0, "curve": curve, **cost} for arm in ("text", "CMF")
    ]
    rows = {"students": students, "bases": [], "teachers": [], "explained": []}
    assert not any(question.points for question in figures.questions(rows))
