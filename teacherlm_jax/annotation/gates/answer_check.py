"""The gate `answer_check`: a model must find the right option with the explanation.

It needs a model, so it judges finished explanations in batches instead of one text at a time. The
model reads the question, then the explanation, then the options, and its choice is the letter with
the highest probability, as in an evaluation:

    Q: {question} {explanation} (A) … (B) … A: The answer is (

Explanations of samples without options, and common mistakes, which lead to wrong options, have no
verdict. Neither have blank texts, which the gate `not_empty` judges.
"""

import dataclasses
from collections.abc import Sequence

from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import names
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import LETTERS, Sample
from teacherlm_jax.evaluation import predictions
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.scoring import Scorer

NAME = names.MODEL_GATE
_MAX_LENGTH = 2048  # tokens; of a longer prompt the question's beginning is truncated


def answers_found(
    loaded: LoadedModel, explained: Sequence[GateInput], *, scorer: Scorer | None = None
) -> list[bool | None]:
    """Return for each explanation whether the model chooses the right option; None: no verdict.

    A verdict does not depend on the other explanations. Load the model with dtype="float32" if it
    is not to depend on rounding either.

    Args:
        loaded: the model that chooses, the teacher itself or another one.
        explained: finished explanations, such as those of one shard.
        scorer: scorer of this model, from `predictions.scorer_of`, whose compiled programs several
            calls share; None: a new one.

    Raises UserError if a score is NaN.
    """
    questions = [(index, _question(item)) for index, item in enumerate(explained) if _has(item)]
    found: list[bool | None] = [None] * len(explained)
    if questions:
        scored, _ = predictions.score(
            loaded, [question for _, question in questions], max_length=_MAX_LENGTH, scorer=scorer
        )
        for (index, _), prediction in zip(questions, scored, strict=True):
            found[index] = prediction.correct
    return found


def with_explanation(explained: GateInput) -> Sample:
    """Return the sample that the model is asked about: its question ends with the explanation."""
    sample = explained.sample
    return dataclasses.replace(sample, question=f"{sample.question} {explained.text.strip()}")


def _has(explained: GateInput) -> bool:
    """Return whether an explanation has a verdict."""
    return bool(explained.sample.options and explained.text.strip() and explained.kind != "mistake")


def _question(explained: GateInput) -> Question:
    sample = explained.sample
    return Question(
        context=prompts.question_prompt(with_explanation(explained)),
        options=tuple(LETTERS[: len(sample.options)]),
        gold=sample.answer_index,
        id=sample.id,
    )
