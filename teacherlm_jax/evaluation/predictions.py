"""Predictions of a model: from scores, or from a loaded model and questions."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax
from flax import nnx

from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import tokenized
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.evaluation.rank import Prediction
from teacherlm_jax.evaluation.reductions import OptionLikelihood, text_bytes
from teacherlm_jax.evaluation.scoring import Scorer
from teacherlm_jax.evaluation.tokenized import TokenizedQuestion, Tokenizer

BATCH_TOKENS = 16384  # of a scorer, where a caller has no other wish

_Sums = Sequence[tuple[float, ...]]  # log-probability of each option of each question, in nats


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedQuestions:
    """Questions with their token ids, and how their options are scored.

    Attributes:
        questions: the questions.
        ids: their token ids.
        truncated: number of contexts that were truncated.
        reduction: one of `names.REDUCTIONS`.
        unconditional: for the reduction "unconditional", the ids of each set of options after its
            prompt without a question, by that prompt and the options.
    """

    questions: Sequence[Question]
    ids: Sequence[TokenizedQuestion]
    truncated: int
    reduction: str
    unconditional: Mapping[tuple[str, ...], TokenizedQuestion]


def encode(
    questions: Sequence[Question],
    vocabulary: Tokenizer,
    *,
    reduction: str,
    tokenization: str,
    max_length: int,
    positions: int = 0,
    key: str = "config.max_length",
) -> EncodedQuestions:
    """Tokenize questions; see `tokenized.tokenize` for the arguments and errors."""
    limits = (vocabulary, max_length, positions, key, tokenization)
    ids, truncated = tokenized.tokenize(questions, *limits)
    unconditional: dict[tuple[str, ...], TokenizedQuestion] = {}
    if reduction == "unconditional":
        texts = {_texts(question): question for question in questions}
        alone = [
            dataclasses.replace(question, context=question.unconditional)
            for question in texts.values()
        ]
        unconditional = dict(zip(texts, tokenized.tokenize(alone, *limits)[0], strict=True))
    return EncodedQuestions(
        questions=questions,
        ids=ids,
        truncated=truncated,
        reduction=reduction,
        unconditional=unconditional,
    )


def _texts(question: Question) -> tuple[str, ...]:
    return question.unconditional, *question.options


def predict(
    encoded: EncodedQuestions,
    scorer: Scorer,
    label: str,
    advice: str,
    before_batch: Callable[[], None] = lambda: None,
) -> list[Prediction]:
    """Score the options of encoded questions.

    Args:
        encoded: the questions.
        scorer: scorer of the model.
        label: the model and the benchmark, which begin the message of an error.
        advice: remedy, which ends it.
        before_batch: called before every batch; an exception that it raises ends the scoring.

    Raises UserError for the first question with a NaN among its scores.
    """
    sums = scorer.score(encoded.ids, before_batch=before_batch)
    alone: dict[tuple[str, ...], tuple[float, ...]] = {}
    if encoded.unconditional:
        ids = list(encoded.unconditional.values())
        scores = scorer.score(ids, before_batch=before_batch)
        alone = dict(zip(encoded.unconditional, scores, strict=True))
    predicted = predictions(encoded, sums, alone)
    scores = [prediction.scores for prediction in predicted]
    refuse_nan(label, encoded.questions, scores, advice)
    return predicted


def predictions(
    encoded: EncodedQuestions,
    sums: _Sums,
    unconditional: Mapping[tuple[str, ...], tuple[float, ...]],
) -> list[Prediction]:
    """Return one prediction per question from the log-probabilities of its options, in nats."""
    letters = all(len(option) == 1 for question in encoded.questions for option in question.options)
    predicted = []
    for question, ids, totals in zip(encoded.questions, encoded.ids, sums, strict=True):
        scores = _scores(question, ids, totals, unconditional.get(_texts(question)))
        predicted.append(
            Prediction(
                id=question.id,
                subject=question.subject,
                gold=question.gold,
                scores=scores[encoded.reduction],
                scores_by_reduction={} if letters and not unconditional else scores,
            )
        )
    return predicted


def _scores(
    question: Question,
    ids: TokenizedQuestion,
    totals: Sequence[float],
    unconditional: Sequence[float] | None,
) -> dict[str, tuple[float, ...]]:
    """Return the scores of a question's options by reduction."""
    without = unconditional or (None,) * len(totals)
    options = zip(question.options, ids.options, totals, without, strict=True)
    scores = [
        OptionLikelihood(
            total=total, tokens=len(tokens), bytes=text_bytes(text), unconditional=alone
        ).scores()
        for text, tokens, total, alone in options
    ]
    return {name: tuple(of_option[name] for of_option in scores) for name in scores[0]}


def refuse_nan(label: str, questions: Sequence[Question], scores: _Sums, advice: str) -> None:
    """Raise UserError for the first question with a NaN among its scores.

    Args:
        label: the model and the benchmark, which begin the message.
        questions: questions that were scored.
        scores: scores of their options, in nats.
        advice: remedy, which ends the message.
    """
    for question, option_scores in zip(questions, scores, strict=True):
        if any(map(math.isnan, option_scores)):
            raise UserError(
                f"{label}: NaN among the scores {list(option_scores)} of question {question.id}, "
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
    tokenization: str = "separate",
    max_length: int = 2048,
    batch_tokens: int = BATCH_TOKENS,
    scorer: Scorer | None = None,
    name: str = "",
) -> tuple[list[Prediction], int]:
    """Score the options of questions with a loaded model; no run folder is needed.

    Args:
        loaded: model from `hf.any_model.load`; load it with dtype="float32" for exact scores.
        questions: questions, such as `Question(context="Q: … A:", options=(" yes", " no"))`.
        reduction: score of an option from the log-probabilities of its tokens: "mean", "sum",
            "bytes" or "unconditional"; see `reductions`.
        tokenization: "separate" or "joint"; see `tokenized.tokenize`.
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
    encoded = encode(
        questions,
        loaded.vocabulary,
        reduction=reduction,
        tokenization=tokenization,
        max_length=max_length,
        positions=loaded.config.max_positions,
    )
    advice = "evaluate an earlier checkpoint (RUN/checkpoints/STEP), or copy the model again"
    scorer = scorer or scorer_of(loaded, batch_tokens)
    return predict(encoded, scorer, name or loaded.digest, advice), encoded.truncated
