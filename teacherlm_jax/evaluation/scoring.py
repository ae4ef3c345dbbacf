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
from jaxtyping import Array, Float32, Int

from teacherlm_jax import sharding
from teacherlm_jax.data.packing import power_of_two
from teacherlm_jax.evaluation import rank
from teacherlm_jax.evaluation.tokenized import TokenizedQuestion

_SHORTEST_BUCKET = 32
_FEWEST_OPTIONS = 8  # looking a few more up costs nothing, another compilation does

_Shape = tuple[int, int, int, int]  # rows, tokens, positions that are looked at, options at each


@dataclasses.dataclass(frozen=True)
class _Row:
    """One text for the model, and the tokens whose log-probabilities are wanted in it.

    `targets[p]` are looked up after the token at `positions[p]`. `question` and `option` say whom
    the answer belongs to; an `option` of None stands for all of them, one target each.
    """

    question: int
    option: int | None
    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.targets), len(self.targets[0])


def bucket_length(length: int) -> int:
    """The padded length of a row: a power of two, or one and a half times one, at least 32."""
    power = _SHORTEST_BUCKET
    while power < length:
        if power * 3 // 2 >= length:
            return power * 3 // 2
        power *= 2
    return power


class Scorer:
    """Scores questions with one model; its compiled programs serve all sets it is asked about."""

    def __init__(self, model: nnx.Module, *, mesh: Mesh, batch_tokens: int, pad_id: int):
        """Takes a model with `hidden` and `logits`, as this package's have, placed on `mesh`.

        Args:
          batch_tokens: padded tokens of a batch, about.
          pad_id: what fills rows up; any token will do.
        """
        graph, state = nnx.split(model)
        self._state: nnx.State | None = state
        self._mesh = mesh
        self._batch_tokens = batch_tokens
        self._pad_id = pad_id
        # The graph is bound, not passed: it holds the model's config, which has no hash. What comes
        # out lies whole on every device, so that every process can read it.
        self.log_probabilities = jax.jit(
            functools.partial(_log_probabilities, graph), out_shardings=sharding.replicated(mesh)
        )

    def take(self, model: nnx.Module | None) -> None:
        """Goes on with a model of the same graph; with None, lets go of the one it has."""
        self._state = None if model is None else nnx.state(model)

    def score(
        self,
        questions: Sequence[TokenizedQuestion],
        *,
        one_row_a_question: bool = True,
        before_batch: Callable[[], None] = lambda: None,
    ) -> list[tuple[float, ...]]:
        """Mean log-probability per token of every option of every question, in nats.

        Args:
          one_row_a_question: read all options off one forward pass where each is a single token;
            False gives every option its own row, as longer options need anyway.
          before_batch: called before every batch; what it raises ends the scoring.
        """
        rows: list[_Row] = []
        for index, question in enumerate(questions):
            rows.extend(_rows(index, question, one_row_a_question))
        scores = [[0.0] * len(question.options) for question in questions]
        for batch, shape in _batches(rows, self._batch_tokens, sharding.batch_cuts(self._mesh)):
            before_batch()
            arrays = _arrays(batch, shape, self._pad_id)
            arrays = jax.device_put(arrays, sharding.batch_sharding(self._mesh))
            with jax.set_mesh(self._mesh):
                found = np.asarray(self.log_probabilities(self._state, *arrays), np.float64)
            for row, values in zip(batch, found, strict=False):  # padding rows may follow
                if row.option is None:
                    scores[row.question] = values[0, : row.shape[1]].tolist()
                else:
                    mean = rank.option_score(values[: row.shape[0], 0].tolist())
                    scores[row.question][row.option] = mean
        return [tuple(each) for each in scores]


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
    """Rows of like length with their batch's shape; longest first.

    The longest batch comes first so that memory runs out at once or not at all.
    """
    buckets: dict[tuple[int, int, int], list[_Row]] = defaultdict(list)
    for row in rows:
        positions, targets = row.shape
        options = power_of_two(targets, _FEWEST_OPTIONS)
        key = (bucket_length(len(row.tokens)), power_of_two(positions), options)
        buckets[key].append(row)
    for key in sorted(buckets, reverse=True):
        bucket = sorted(buckets[key], key=lambda row: -len(row.tokens))
        size = min(max(1, batch_tokens // key[0]), power_of_two(len(bucket)))
        size = max(1, size // multiple) * multiple
        for start in range(0, len(bucket), size):
            yield bucket[start : start + size], (size, *key)


def _arrays(rows: Sequence[_Row], shape: _Shape, pad_id: int) -> list[np.ndarray]:
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
) -> Float32[Array, "B P O"]:
    """Log-probability of each of O targets as the token after each of P positions of its row."""
    model = nnx.merge(graph, state)
    where = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    segments = (where < lengths).astype(jnp.int32)
    # Padding counts no positions, of which the model may have fewer than the bucket has places.
    hidden = model.hidden(tokens, where * segments, segments)
    hidden = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)

    def at_one_position(pair):
        states, wanted = pair  # [B D], [B O]
        log_probabilities = jax.nn.log_softmax(model.logits(states), axis=-1)
        return jnp.take_along_axis(log_probabilities, wanted, axis=-1)

    # One position at a time: [B, P, V] in float32 would not fit for long options.
    found = jax.lax.map(at_one_position, (hidden.swapaxes(0, 1), targets.swapaxes(0, 1)))
    return found.swapaxes(0, 1)
