"""Log-probabilities of options under a model, in few compiled shapes.

Short texts share rows, and rows are batched by length with about the same number of tokens, so a
benchmark costs few compilations and little padding. The model runs the context of a question once
for all options. Only the hidden states that predict an option are multiplied with the vocabulary.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Float32, Int

from teacherlm_jax import sharding
from teacherlm_jax.evaluation.score_batches import ScoreRow, arrays, batches, score_rows
from teacherlm_jax.evaluation.tokenized import TokenizedQuestion
from teacherlm_jax.models.decoder import Decoder

_LOGITS_AT_ONCE = 64  # states whose logits are computed together, unless a batch has more rows


@dataclasses.dataclass(frozen=True)
class ScoredOption:
    """Scores of the tokens of one option.

    Attributes:
        log_probabilities: of each token after the context and the tokens before it, in nats.
        greedy: True if no other token was likelier anywhere, so greedy decoding writes the option.
    """

    log_probabilities: tuple[float, ...]
    greedy: bool

    @property
    def total(self) -> float:
        """Log-probability of the whole option, in nats."""
        return math.fsum(self.log_probabilities)


@dataclasses.dataclass
class ScoreCounts:
    """Counts of the work of a scorer, without padding; they only grow.

    Attributes:
        read: tokens that the model read.
        pairs: pairs of a query and a key that attention needed for them.
        states: hidden states that were multiplied with the vocabulary.
        scored: tokens of options.
    """

    read: int = 0
    pairs: int = 0
    states: int = 0
    scored: int = 0

    def add(self, row: ScoreRow) -> None:
        """Count a row."""
        self.read += row.size
        self.pairs += row.pairs
        self.states += len(row.places)
        self.scored += sum(row.lengths)


class Scorer:
    """Scores questions with one model; compiled programs are shared by all benchmarks.

    Attributes:
        counts: its work so far.
    """

    def __init__(self, model: nnx.Module, *, mesh: Mesh, batch_tokens: int, pad_id: int):
        """Prepare to score with a model whose parameters are on `mesh`.

        Args:
            model: model with the methods `hidden`, `hidden_after_prefix` and `logits`.
            mesh: devices that share every batch.
            batch_tokens: approximate number of tokens per batch, padding included.
            pad_id: id that pads rows; the scores do not depend on it.
        """
        graph, state = nnx.split(model)
        self._state: nnx.State | None = state
        self._mesh = mesh
        self._batch_tokens = batch_tokens
        self._pad_id = pad_id
        self.counts = ScoreCounts()
        # The graph is bound, not passed, because it cannot be hashed. The result is replicated, so
        # that every process can read it.
        compiled = functools.partial(jax.jit, out_shardings=sharding.replicated(mesh))
        self.log_probabilities = compiled(functools.partial(_log_probabilities, graph))
        self.log_probabilities_after_prefix = compiled(functools.partial(_after_prefix, graph))

    def take(self, model: nnx.Module | None) -> None:
        """Replace the model by another one of the same graph, or release it with None."""
        self._state = None if model is None else nnx.state(model)

    def score(
        self,
        questions: Sequence[TokenizedQuestion],
        *,
        share_contexts: bool = True,
        before_batch: Callable[[], None] = lambda: None,
    ) -> list[tuple[float, ...]]:
        """Return the log-probability of every option of every question, in nats.

        The arguments are those of `options`.
        """
        scored = self.options(questions, share_contexts=share_contexts, before_batch=before_batch)
        return [tuple(option.total for option in options) for options in scored]

    def options(
        self,
        questions: Sequence[TokenizedQuestion],
        *,
        share_contexts: bool = True,
        before_batch: Callable[[], None] = lambda: None,
    ) -> list[list[ScoredOption]]:
        """Return the scores of the tokens of every option of every question.

        Args:
            questions: tokenized questions.
            share_contexts: run the context of a question once for all options; False runs it once
                for each option, which is slower and gives the same scores.
            before_batch: called before every batch; an exception that it raises ends the scoring.
        """
        rows = list(score_rows(questions, share_contexts))
        scored: list[dict[int, ScoredOption]] = [{} for _ in questions]
        shards = sharding.batch_shards(self._mesh)
        for batch, shape, size in batches(rows, self._batch_tokens, shards):
            before_batch()
            program = (
                self.log_probabilities_after_prefix if shape.suffixes else self.log_probabilities
            )
            inputs = arrays(batch, shape, size, self._pad_id)
            inputs = jax.device_put(inputs, sharding.batch_sharding(self._mesh))
            with jax.set_mesh(self._mesh):
                log_probabilities, likeliest = program(self._state, *inputs)
            both = (np.asarray(array).tolist() for array in (log_probabilities, likeliest))
            for parts, *values in zip(batch, *both, strict=False):  # padding rows may follow
                flat = [iter(of_states) for of_states in values]
                for part in parts:
                    self.counts.add(part)
                    options = zip(part.options, *map(part.split, flat), strict=True)
                    for number, of_tokens, every in options:
                        scored[part.question][number] = ScoredOption(tuple(of_tokens), all(every))
        return [[options[number] for number in range(len(options))] for options in scored]


def _log_probabilities(
    graph: nnx.GraphDef,
    state: nnx.State,
    tokens: Int[Array, "B T"],
    segment_ids: Int[Array, "B T"],
    positions: Int[Array, "B T"],
    states: Int[Array, "B S"],
    targets: Int[Array, "B S O"],
) -> tuple[Float32[Array, "B S O"], Bool[Array, "B S O"]]:
    """Return the log-probability of each of O targets after each of S tokens of its row.

    The second array is True where no other token is likelier than the target.

    Products of float32 values are computed in float32, which GPUs and TPUs do only if asked to.
    """
    model = nnx.merge(graph, state)
    with jax.default_matmul_precision("highest"):
        hidden = model.hidden(tokens, positions, segment_ids)
        return _looked_up(model, hidden, states, targets)


def _after_prefix(
    graph: nnx.GraphDef,
    state: nnx.State,
    prefixes: Int[Array, "B T"],
    prefix_lengths: Int[Array, "B 1"],
    suffixes: Int[Array, "B K R"],
    suffix_lengths: Int[Array, "B K"],
    positions: Int[Array, "B S"],
    targets: Int[Array, "B S O"],
) -> tuple[Float32[Array, "B S O"], Bool[Array, "B S O"]]:
    """Return `_log_probabilities` for K suffixes of each prefix; positions count K rows of R."""
    model = nnx.merge(graph, state)
    with jax.default_matmul_precision("highest"):
        hidden = model.hidden_after_prefix(prefixes, prefix_lengths[:, 0], suffixes, suffix_lengths)
        hidden = hidden.reshape(len(prefixes), -1, hidden.shape[-1])
        return _looked_up(model, hidden, positions, targets)


def _looked_up(
    model: Decoder,
    hidden: Float[Array, "B T E"],
    positions: Int[Array, "B S"],
    targets: Int[Array, "B S O"],
) -> tuple[Float32[Array, "B S O"], Bool[Array, "B S O"]]:
    """Return the log-probabilities of targets after some hidden states, and which are likeliest.

    A few states of each row at a time: [B, S, V] in float32 would not fit for long options.
    """
    rows, states = positions.shape
    at_once = math.gcd(states, 1 << (max(1, _LOGITS_AT_ONCE // rows).bit_length() - 1))
    hidden = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)

    def some(pair):
        chosen, wanted = pair  # [B S E], [B S O]
        logits = model.logits(chosen)
        most = jnp.max(logits, axis=-1, keepdims=True)
        likeliest = jnp.take_along_axis(logits, wanted, axis=-1) >= most
        log_probabilities = jax.nn.log_softmax(logits, axis=-1)
        return jnp.take_along_axis(log_probabilities, wanted, axis=-1), likeliest

    parts = tuple(
        array.reshape(rows, states // at_once, at_once, -1).swapaxes(0, 1)
        for array in (hidden, targets)
    )
    log_probabilities, likeliest = jax.lax.map(some, parts)
    shape = targets.shape
    return log_probabilities.swapaxes(0, 1).reshape(shape), likeliest.swapaxes(0, 1).reshape(shape)
