"""Predictions from scores."""

import math

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.evaluation.question import Question

QUESTIONS = [
    Question(id=id, subject="law", context="Q:", options=("A", "B"), gold=1) for id in ("q1", "q2")
]


def test_predictions_keep_the_question_and_choose_by_its_scores():
    first, second = predictions.predictions(QUESTIONS, [(-1.0, -2.0), (-2.0, -1.0)])
    assert (first.id, first.subject, first.gold, first.scores) == ("q1", "law", 1, (-1.0, -2.0))
    assert (first.correct, second.correct) == (False, True)


def test_a_nan_score_is_an_error_that_names_the_model_the_question_and_the_remedy():
    scores = [(-1.0, -2.0), (-1.0, math.nan)]
    message = r"m on set: NaN among the scores \[-1.0, nan\] of question q2, .*; begin again"
    with pytest.raises(UserError, match=message):
        predictions.refuse_nan("m on set", QUESTIONS, scores, "begin again")
    predictions.refuse_nan("m on set", QUESTIONS, [(-1.0, -math.inf)] * 2, "begin again")
