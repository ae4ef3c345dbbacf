"""Predictions of a model from its scores."""

import math
from collections.abc import Sequence

from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.rank import Prediction


def predictions(
    questions: Sequence[Question], scores: Sequence[tuple[float, ...]]
) -> list[Prediction]:
    """Return one prediction per question from the scores of its options, in nats."""
    return [
        Prediction(
            id=question.id, subject=question.subject, gold=question.gold, scores=option_scores
        )
        for question, option_scores in zip(questions, scores, strict=True)
    ]


def refuse_nan(
    where: str, questions: Sequence[Question], scores: Sequence[tuple[float, ...]], advice: str
) -> None:
    """Raise UserError for the first question with a NaN among its scores.

    Args:
        where: the model and the benchmark, which begin the message.
        questions: questions that were scored.
        scores: scores of their options, in nats.
        advice: remedy, which ends the message.
    """
    for question, option_scores in zip(questions, scores, strict=True):
        if any(map(math.isnan, option_scores)):
            raise UserError(
                f"{where}: NaN among the scores {list(option_scores)} of question {question.id}, "
                f"so the parameters are damaged or the computation overflows; {advice}"
            )
