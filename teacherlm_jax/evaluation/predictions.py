"""Predictions of a model: from scores, or from a loaded model and questions."""

import math
from collections.abc import Sequence

import jax
from flax import nnx

from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import tokenized
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.rank import Prediction
from teacherlm_jax.evaluation.scoring import Scorer


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


def scorer_of(loaded: LoadedModel, batch_tokens: int) -> Scorer:
    """Return a scorer for a loaded model, on the mesh that holds its parameters."""
    mesh = jax.tree.leaves(nnx.state(loaded.model))[0].sharding.mesh
    pad_id = loaded.vocabulary.pad_id
    return Scorer(loaded.model, mesh=mesh, batch_tokens=batch_tokens, pad_id=pad_id)


def score(
    loaded: LoadedModel,
    questions: Sequence[Question],
    *,
    reduction: str = "mean",
    max_length: int = 2048,
    batch_tokens: int = 16384,
    scorer: Scorer | None = None,
    name: str = "",
) -> tuple[list[Prediction], int]:
    """Score the options of questions with a loaded model; no run folder is needed.

    Args:
        loaded: model from `hf.any_model.load`; load it with dtype="float32" for exact scores.
        questions: questions, such as `Question(context="Q: … A:", options=(" yes", " no"))`.
        reduction: "mean" or "sum" of the log-probabilities of an option's tokens.
        max_length: longest context with its option, in tokens; longer contexts are truncated on the
            left. The positions of the model limit it, too.
        batch_tokens: approximate number of tokens per batch, padding included.
        scorer: scorer of this model whose compiled programs to reuse; None: a new one.
        name: name of the model in messages; empty: its digest.

    Returns:
        One prediction per question, with the scores of its options in nats and the choice, and the
        number of truncated contexts.

    Raises:
        UserError: a question cannot be tokenized, or a score is NaN.
    """
    positions = loaded.config.max_positions
    encoded, truncated = tokenized.tokenize(questions, loaded.vocabulary, max_length, positions)
    scorer = scorer or scorer_of(loaded, batch_tokens)
    scores = scorer.score(encoded, reduction=reduction)
    advice = "evaluate an earlier checkpoint (RUN/checkpoints/STEP), or copy the model again"
    refuse_nan(name or loaded.digest, questions, scores, advice)
    return predictions(questions, scores), truncated
