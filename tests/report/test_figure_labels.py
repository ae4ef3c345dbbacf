"""Labels of long names are short and differ, wherever the names differ."""

import pytest

from teacherlm_jax.report import figure_labels


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["stage1", "student_CMF"], ["stage1", "student_CMF"]),
        (
            ["student_CMF (evaluate_student_CMF)", "student_CMF (evaluate_texts)"],
            ["student_CMF …tudent_CMF)", "student_CMF …uate_texts)"],
        ),
        (
            [f"{'a' * 18}{digit}{'b' * 21}" for digit in "12"],
            [f"{'a' * 18}{digit}…bbbbb" for digit in "12"],
        ),
        (
            [
                f"{'a' * 30}{digit}{'b' * 30}" for digit in "12"
            ],  # 24 letters do not reach the middle
            [f"{'a' * 30}{digit}…{'b' * 9}" for digit in "12"],
        ),
        (["same", "same"], ["same"]),
        ([], []),
    ],
)
def test_labels(names, labels):
    assert list(figure_labels.labels(names, 24).values()) == labels
