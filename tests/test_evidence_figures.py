"""The figures of the study of stages and explanations."""

import re

import pytest
import vl_convert

from benchmarks.evidence import figures

CORRECT = [
    *("explanations, correct", "chains of thought, correct"),
    *("fundamentals, correct", "common mistakes, correct"),
]


def teachers(size="medium"):
    """Return outcomes of teachers of two seeds, and those of their explanations."""
    correct = {"cot": 0.1, "fundamental": 0.2, "mistake": 0.3}
    return {
        "teachers": [
            {"size": size, "stage": stage, "seed": seed, "trained": trained, "unseen": unseen}
            for stage, trained, unseen in (("no_stage", 0.5, 0.3), ("stage2", 0.6, 0.2))
            for seed in (0, 1)
        ],
        "explained": [
            {"size": size, "writer": writer, "seed": seed}
            | {"correct": {kind: factor * share for kind, share in correct.items()}}
            for writer, factor in (("no_stage", 1), ("stage2", 2), ("specialists", 3))
            for seed in (0, 1)
        ],
    }


def students(accuracies, seeds=(0, 1)):
    """Return students, whose accuracy rises from 0 after step 100."""
    return [
        {"arm": arm, "amount": 1000, "seed": seed, "curve": [(100, 0.0), (200, accuracy)]}
        | {"steps": 200, "tokens": 900, "pass_tokens": 300}
        for arm, accuracy in accuracies.items()
        for seed in seeds
    ]


@pytest.mark.parametrize(
    ("question", "accuracies", "expected"),
    [
        ("students", {"text": 0.5, "CMF": 0.6, "C": 0.3}, {"CMF": 10, "C": -20}),
        (
            "causes",
            {"CMF": 0.5, "CMF-false25": 0.3, "CMF-answer": 0.7},
            {"CMF-false25": -20, "CMF-answer": 20},
        ),
        ("taught", {"taught-text": 0.5, "taught-CMF": 0.1}, {"taught-CMF": -40}),
    ],
)
def test_the_figures_of_students_have_two_panels_of_differences(question, accuracies, expected):
    rows = {"students": students(accuracies), "bases": [], "teachers": [], "explained": []}
    points = drawn_points(rows, question)
    assert len({(point["column"], point["row"]) for point in points}) == 2
    assert list(dict.fromkeys(point["name"] for point in points)) == list(expected)
    for point in points:
        assert point["mean"] == pytest.approx(expected[point["name"]])


def test_the_panels_of_students_of_teachers_are_at_equal_passes_and_tokens():
    rows = students({"taught-text": 0.5, "taught-stage2": 0.6})
    for row in rows:
        row["curve"] = [(100, row["curve"][1][1] / 2), row["curve"][1]]
        if row["arm"] == "taught-stage2":
            row |= {"tokens": 600, "pass_tokens": 240}
    others = {"bases": [], "teachers": [], "explained": []}
    points = drawn_points({"students": rows, **others}, "taught")
    means = {point["row"]: point["mean"] for point in points}
    # 2.5 passes with 600 tokens, for which text needs 166.7 and 133.3 steps.
    expected = {"equal passes": 60 - 25 * (1 + 2 / 3), "equal tokens": 60 - 25 * (1 + 1 / 3)}
    assert means == pytest.approx(expected)


def test_the_figure_of_stages_has_their_differences_and_those_of_the_specialists():
    points = drawn_points({"students": [], "bases": [], **teachers()}, "stages")
    means = {(point["row"], point["name"]): round(point["mean"], 6) for point in points}
    before, after = "stage 2 - control", "specialists - stage 2"
    assert means == {
        (before, "accuracy"): 10,
        (before, "accuracy, held-out families"): -10,
        **{
            (row, name): share
            for row in (before, after)
            for name, share in zip(CORRECT, (20, 10, 20, 30), strict=True)
        },
    }


def drawn_points(rows, name):
    """Return the points of a figure, each of which is in its drawing."""
    (question,) = (one for one in figures.questions(rows) if one.name == name)
    svg = vl_convert.vegalite_to_svg(figures.drawn(question).to_json())
    assert len(re.findall(r'aria-roledescription="point"', svg)) == len(question.points)
    return question.points


def test_a_question_without_outcomes_has_no_points():
    rows = {"students": [], "bases": [], "teachers": [], "explained": []}
    assert not any(question.points for question in figures.questions(rows))


def test_an_arm_without_an_interval_is_not_drawn():
    runs = students({"text": 0.5, "CMF": 0.6}, seeds=(0,))
    rows = {"students": runs, "bases": [], "teachers": [], "explained": []}
    assert not any(question.points for question in figures.questions(rows))
