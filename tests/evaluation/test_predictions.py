"""Predictions from scores."""

import math

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.evaluation.question import Question

QUESTIONS = [
    Question(id=id, subject="law", context="Q:", options=("A", "B"), gold=1) for id in ("q1", "q2")
]


class _Characters:
    """A vocabulary with one token per character."""

    begin = ()

    def encode_batch(self, texts):
        return [[ord(character) for character in text] for text in texts]


class _Scorer:
    """A scorer that gives every token a log-probability of -1, or -1/2 after "A:" alone."""

    def __init__(self):
        self.scored = 0

    def score(self, questions, before_batch):
        before_batch()
        self.scored += len(questions)
        return [
            tuple(-len(option) / (2 if bytes(question.context) == b"A:" else 1)
                  for option in question.options)
            for question in questions
        ]  # fmt: skip


def _encoded(questions, reduction):
    return predictions.encode(
        questions, _Characters(), reduction=reduction, tokenization="separate", max_length=99
    )


def test_predictions_keep_the_question_and_choose_by_its_scores():
    encoded = _encoded(QUESTIONS, "mean")
    first, second = predictions.predictions(encoded, [(-1.0, -2.0), (-2.0, -1.0)], {})
    assert (first.id, first.subject, first.gold, first.scores) == ("q1", "law", 1, (-1.0, -2.0))
    assert (first.correct, second.correct) == (False, True)
    assert first.scores_by_reduction == {}


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("mean", (-1.0, -1.0)),
        ("sum", (-4.0, -3.0)),
        ("bytes", (-4 / 3, -1.0)),  # without the space; "né" has two characters and three bytes
        ("unconditional", (-2.0, -1.5)),
    ],
)
def test_scores_of_texts_are_reduced_and_kept_by_every_reduction(reduction, expected):
    question = Question(context="Q: it A:", options=(" yes", " né"), gold=0)
    encoded = _encoded([question], reduction)
    (prediction,) = predictions.predict(encoded, _Scorer(), "m on set", "begin again")
    assert prediction.scores == expected
    known = ["mean", "sum", "bytes", "unconditional"][: 4 if reduction == "unconditional" else 3]
    assert list(prediction.scores_by_reduction) == known
    assert prediction.scores_by_reduction["sum"] == (-4.0, -3.0)


def test_equal_options_are_scored_once_without_the_question():
    questions = [Question(context=f"Q: {n} A:", options=(" yes", " no")) for n in range(9)]
    scorer = _Scorer()
    predictions.predict(_encoded(questions, "unconditional"), scorer, "m on set", "begin again")
    assert scorer.scored == 9 + 1


def test_a_nan_score_is_an_error_that_names_the_model_the_question_and_the_remedy():
    scores = [(-1.0, -2.0), (-1.0, math.nan)]
    message = r"m on set: NaN among the scores \[-1.0, nan\] of question q2, .*; begin again"
    with pytest.raises(UserError, match=message):
        predictions.refuse_nan("m on set", QUESTIONS, scores, "begin again")
    predictions.refuse_nan("m on set", QUESTIONS, [(-1.0, -math.inf)] * 2, "begin again")
