"""Log-probabilities of options under a model, in few compiled shapes.

Rows are grouped by length into buckets, and every bucket has one batch shape with about the same
number of tokens, so a benchmark costs as many compilations as it has buckets. Only the hidden
states that predict an option are multiplied with the vocabulary.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float32, Float64, Int, Int32

from teacherlm_jax import sharding
from teacherlm_jax.evaluation import rank
from teacherlm_jax.evaluation.tokenized import TokenizedQuestion
from teacherlm_jax.models.buckets import half_step, power_of_two

_SHORTEST_BUCKET = 32
_FEWEST_OPTIONS = 8  # a few more lookups cost nothing, another compilation does

_Shape = tuple[int, int, int, int]  # rows, tokens per row, positions per row, options per position


@dataclasses.dataclass(frozen=True)
class ScoredOption:
    """Scores of the tokens of one option.

    Attributes:
        log_probabilities: of each token after the context and the tokens before it, in nats.
        greedy: True if no other token was likelier anywhere, so greedy decoding writes the option.
    """

    log_probabilities: tuple[float, ...]
    greedy: bool


@dataclasses.dataclass(frozen=True)
class _Row:
    """One row of a batch, and the tokens whose log-probabilities are wanted in it.

    `targets[p]` are looked up after the token at `positions[p]`. `question` and `option` are the
    indices that the result belongs to; an `option` of None means one target for each option.
    """

    question: int
    option: int | None
    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.targets), len(self.targets[0])


class Scorer:
    """Scores questions with one model; compiled programs are shared by all benchmarks."""

    def __init__(self, model: nnx.Module, *, mesh: Mesh, batch_tokens: int, pad_id: int):
        """Prepare to score with a model whose parameters are on `mesh`.

        Args:
            model: model with the methods `hidden` and `logits`.
            mesh: devices that share every batch.
            batch_tokens: approximate number of tokens per batch, padding included.
            pad_id: id that fills rows up; the scores do not depend on it.
        """
        graph, state = nnx.split(model)
        self._state: nnx.State | None = state
        self._mesh = mesh
        self._batch_tokens = batch_tokens
        self._pad_id = pad_id
        # The graph is bound, not passed, because it cannot be hashed. The result is replicated, so
        # that every process can read it.
        self.log_probabilities = jax.jit(
            functools.partial(_log_probabilities, graph), out_shardings=sharding.replicated(mesh)
        )

    def take(self, model: nnx.Module | None) -> None:
        """Replace the model by another one of the same graph, or release it with None."""
        self._state = None if model is None else nnx.state(model)

    def score(
        self,
        questions: Sequence[TokenizedQuestion],
        *,
        reduction: str = "mean",
        one_row_per_question: bool = True,
        before_batch: Callable[[], None] = lambda: None,
    ) -> list[tuple[float, ...]]:
        """Return the score of every option of every question, in nats.

        Args:
            questions: tokenized questions.
            reduction: "mean" or "sum" of the log-probabilities of an option's tokens.
            one_row_per_question: as for `options`.
            before_batch: as for `options`.
        """
        scored = self.options(
            questions, one_row_per_question=one_row_per_question, before_batch=before_batch
        )
        return [
            tuple(rank.option_score(option.log_probabilities, reduction) for option in options)
            for options in scored
        ]

    def options(
        self,
        questions: Sequence[TokenizedQuestion],
        *,
        one_row_per_question: bool = True,
        before_batch: Callable[[], None] = lambda: None,
    ) -> list[list[ScoredOption]]:
        """Return the scores of the tokens of every option of every question.

        Args:
            questions: tokenized questions.
            one_row_per_question: score all options of a question in one row if each is a single
                token; False gives every option its own row, which longer options need anyway.
            before_batch: called before every batch; an exception that it raises ends the scoring.
        """
        rows: list[_Row] = []
        for index, question in enumerate(questions):
            rows.extend(_rows(index, question, one_row_per_question))
        scored: list[dict[int, ScoredOption]] = [{} for _ in questions]
        for batch, shape in _batches(rows, self._batch_tokens, sharding.batch_shards(self._mesh)):
            before_batch()
            arrays = _arrays(batch, shape, self._pad_id)
            arrays = jax.device_put(arrays, sharding.batch_sharding(self._mesh))
            with jax.set_mesh(self._mesh):
                log_probabilities, likeliest = self.log_probabilities(self._state, *arrays)
            both = np.asarray(log_probabilities, np.float64), np.asarray(likeliest)
            for row, *of_row in zip(batch, *both, strict=False):  # padding rows may follow
                scored[row.question].update(_scored(row, *of_row))
        return [[options[number] for number in range(len(options))] for options in scored]


def _scored(
    row: _Row, log_probabilities: Float64[np.ndarray, "P O"], likeliest: Bool[np.ndarray, "P O"]
) -> Iterator[tuple[int, ScoredOption]]:
    """Yield the number and the scores of each option of a row from the values of its targets."""
    if row.option is None:
        for number in range(row.shape[1]):
            value, greedy = float(log_probabilities[0, number]), bool(likeliest[0, number])
            yield number, ScoredOption((value,), greedy)
    else:
        tokens = slice(row.shape[0]), 0
        values, greedy = log_probabilities[tokens].tolist(), bool(likeliest[tokens].all())
        yield row.option, ScoredOption(tuple(values), greedy)


def _rows(index: int, question: TokenizedQuestion, one_row: bool) -> Iterator[_Row]:
    context, last = question.context, len(question.context) - 1
    if one_row and all(len(option) == 1 for option in question.options):
        targets = tuple(option[0] for option in question.options)
        yield _Row(index, None, context, (last,), (targets,))
        return
    for number, option in enumerate(question.options):
        positions = tuple(range(last, last + len(option)))
        yield _Row(index, number, context + option[:-1], positions, tuple((t,) for t in option))


def _batches(
    rows: Sequence[_Row], batch_tokens: int, multiple: int
) -> Iterator[tuple[list[_Row], _Shape]]:
    """Yield rows of similar length with the shape of their batch, the longest first.

    So memory runs out in the first batch or not at all.
    """
    buckets: dict[tuple[int, int, int], list[_Row]] = defaultdict(list)
    for row in rows:
        positions, targets = row.shape
        length = half_step(len(row.tokens), _SHORTEST_BUCKET)
        key = (length, power_of_two(positions), power_of_two(targets, _FEWEST_OPTIONS))
        buckets[key].append(row)
    for key in sorted(buckets, reverse=True):
        bucket = sorted(buckets[key], key=lambda row: -len(row.tokens))
        size = min(max(1, batch_tokens // key[0]), power_of_two(len(bucket)))
        size = max(1, size // multiple) * multiple
        for start in range(0, len(bucket), size):
            yield bucket[start : start + size], (size, *key)


def _arrays(rows: Sequence[_Row], shape: _Shape, pad_id: int) -> list[Int32[np.ndarray, "B ..."]]:
    batch, length, positions_a_row, options_a_row = shape
    tokens = np.full((batch, length), pad_id, np.int32)
    lengths = np.ones((batch, 1), np.int32)  # padding rows too: attention over no key is undefined
    positions = np.zeros((batch, positions_a_row), np.int32)
    targets = np.zeros((batch, positions_a_row, options_a_row), np.int32)
    for index, row in enumerate(rows):
        here, options = row.shape
        tokens[index, : len(row.tokens)] = row.tokens
        lengths[index, 0] = len(row.tokens)
        positions[index, :here] = row.positions
        targets[index, :here, :options] = row.targets
    return [tokens, lengths, positions, targets]


def _log_probabilities(
    graph: nnx.GraphDef,
    state: nnx.State,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, "B 1"],
    positions: Int[Array, "B P"],
    targets: Int[Array, "B P O"],
) -> tuple[Float32[Array, "B P O"], Bool[Array, "B P O"]]:
    """Return the log-probability of each of O targets after each of P positions of its row.

    The second array is True where no other token is likelier than the target.

    Products of float32 values are computed in float32, which GPUs and TPUs do only if asked to.
    """
    model = nnx.merge(graph, state)
    indices = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    segments = (indices < lengths).astype(jnp.int32)

    def at_one_position(pair):
        states, wanted = pair  # [B D], [B O]
        logits = model.logits(states)
        most = jnp.max(logits, axis=-1, keepdims=True)
        likeliest = jnp.take_along_axis(logits, wanted, axis=-1) >= most
        log_probabilities = jax.nn.log_softmax(logits, axis=-1)
        return jnp.take_along_axis(log_probabilities, wanted, axis=-1), likeliest

    with jax.default_matmul_precision("highest"):
        # Padding has position 0: the bucket may be longer than the positions of the model.
        hidden = model.hidden(tokens, indices * segments, segments)
        hidden = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)
        # One position at a time: [B, P, V] in float32 would not fit for long options.
        by_position = hidden.swapaxes(0, 1), targets.swapaxes(0, 1)
        of_targets, likeliest = jax.lax.map(at_one_position, by_position)
        return of_targets.swapaxes(0, 1), likeliest.swapaxes(0, 1)
