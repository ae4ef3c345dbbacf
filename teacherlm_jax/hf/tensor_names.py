"""Names of BLOOM's and OPT's tensors in the Hugging Face format, and their places in ours.

There, each layer has its own tensors, projections are [outputs, inputs], and OPT has separate
query, key and value. Here, layers are stacked, projections are [inputs, outputs] with an axis for
heads, and the query, key and value of a head are adjacent. Numbers and their order are the same.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

from teacherlm_jax.config import ModelConfig
from teacherlm_jax.models.opt import POSITION_OFFSET

HEAD, EMBEDDING = "lm_head.weight", "embedding"
EMBEDDING_NAMES = {"bloom": "word_embeddings.weight", "opt": "decoder.embed_tokens.weight"}
PREFIXES = {"bloom": "transformer.", "opt": "model."}  # of all names except the head's; optional
HARMLESS = {"bloom": (), "opt": ("decoder.version",)}  # in old files, without meaning


@dataclasses.dataclass(frozen=True)
class TensorSlot:
    """One stored tensor, and the slot of one of our parameters that it fills.

    Attributes:
        name: name of the stored tensor, without the family's prefix.
        parameter: name of our parameter, as in "blocks/up/kernel".
        shape: shape of the slot, without the layer axis.
        layer: index on the layer axis; None for a parameter without one.
        start: first index on the last axis.
        inputs: number of leading axes that are a projection's inputs, 0 for biases; None for a
            table, which has the same shape in both formats.
    """

    name: str
    parameter: str
    shape: tuple[int, ...]
    layer: int | None = None
    start: int = 0
    inputs: int | None = 0

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the stored tensor."""
        if self.inputs is None:
            return self.shape
        outputs = math.prod(self.shape[self.inputs :])
        return (outputs, math.prod(self.shape[: self.inputs])) if self.inputs else (outputs,)

    def stored_index(self, index: tuple[slice, ...]) -> tuple[slice, ...]:
        """Return the part of the stored tensor that holds the part `index` of the slot.

        Of our axes that are one stored axis, only the first may be sliced.
        """
        bounds = [cut.indices(size)[:2] for cut, size in zip(index, self.shape, strict=True)]
        if self.inputs is None:
            return tuple(slice(*pair) for pair in bounds)
        cuts = [slice(*self._joined(bounds, range(self.inputs, len(bounds))))]
        if self.inputs:
            cuts.append(slice(*self._joined(bounds, range(self.inputs))))
        return tuple(cuts)

    def _joined(self, bounds: list[tuple[int, int]], axes: range) -> tuple[int, int]:
        first, *rest = axes
        if any(bounds[axis] != (0, self.shape[axis]) for axis in rest):
            raise ValueError(f"{self.parameter}: {bounds} slices an axis inside a stored axis")
        size = math.prod(self.shape[axis] for axis in rest)
        return bounds[first][0] * size, bounds[first][1] * size

    def from_stored(
        self, array: Shaped[np.ndarray, "..."], index: tuple[slice, ...]
    ) -> Shaped[np.ndarray, "..."]:
        """Return part `index` of the slot, given part `stored_index(index)` of the tensor."""
        if self.inputs is None:
            return array
        bounds = (cut.indices(size) for cut, size in zip(index, self.shape, strict=True))
        return array.T.reshape([stop - start for start, stop, _ in bounds])

    def to_stored(self, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Return the whole slot as the stored tensor, as a view if possible."""
        return array if self.inputs is None else array.reshape(self.stored_shape[::-1]).T


def slots(config: ModelConfig) -> Iterator[TensorSlot]:
    """Yield all tensors of a model in the order in which transformers saves them."""
    yield from {"bloom": _bloom, "opt": _opt}[config.family](config)
    if not config.tied:
        yield _table(HEAD, "head", _embedding_shape(config))


def _bloom(config: ModelConfig) -> Iterator[TensorSlot]:
    D, N, H = config.width, config.heads, config.width // config.heads
    yield _table(EMBEDDING_NAMES["bloom"], EMBEDDING, _embedding_shape(config))
    yield from _norm("word_embeddings_layernorm", "embedding_norm", D)
    for i in range(config.layers):
        at, attention, mlp = f"h.{i}", f"h.{i}.self_attention", f"h.{i}.mlp"
        yield from _norm(f"{at}.input_layernorm", "blocks/attention_norm", D, i)
        yield from _projection(
            f"{attention}.query_key_value", "blocks/query_key_value", (D,), (N, 3 * H), i
        )
        yield from _projection(f"{attention}.dense", "blocks/attention_output", (N, H), (D,), i)
        yield from _norm(f"{at}.post_attention_layernorm", "blocks/mlp_norm", D, i)
        yield from _projection(f"{mlp}.dense_h_to_4h", "blocks/up", (D,), (4 * D,), i)
        yield from _projection(f"{mlp}.dense_4h_to_h", "blocks/down", (4 * D,), (D,), i)
    yield from _norm("ln_f", "final_norm", D)


def _opt(config: ModelConfig) -> Iterator[TensorSlot]:
    D, E, rows = config.width, config.embedding_width, config.max_positions + POSITION_OFFSET
    yield _table(EMBEDDING_NAMES["opt"], EMBEDDING, _embedding_shape(config))
    yield _table("decoder.embed_positions.weight", "position_embedding", (rows, D))
    if E not in (0, D):
        for way, shape in (("out", (D, E)), ("in", (E, D))):
            name = f"decoder.project_{way}.weight"
            yield TensorSlot(name, f"project_{way}/kernel", shape, inputs=1)
    if config.norm == "before":
        yield from _norm("decoder.final_layer_norm", "final_norm", D)
    for i in range(config.layers):
        yield from _opt_layer(config, i)


def _opt_layer(config: ModelConfig, i: int) -> Iterator[TensorSlot]:
    D, N, H = config.width, config.heads, config.width // config.heads
    at, attention = f"decoder.layers.{i}", f"decoder.layers.{i}.self_attn"
    for part, place in (("k", 1), ("v", 2), ("q", 0)):
        name = f"{attention}.{part}_proj"
        yield from _projection(name, "blocks/query_key_value", (D,), (N, H), i, start=place * H)
    yield from _projection(f"{attention}.out_proj", "blocks/attention_output", (N, H), (D,), i)
    yield from _norm(f"{at}.self_attn_layer_norm", "blocks/attention_norm", D, i)
    yield from _projection(f"{at}.fc1", "blocks/up", (D,), (4 * D,), i)
    yield from _projection(f"{at}.fc2", "blocks/down", (4 * D,), (D,), i)
    yield from _norm(f"{at}.final_layer_norm", "blocks/mlp_norm", D, i)


def _embedding_shape(config: ModelConfig) -> tuple[int, int]:
    return config.vocab_size, config.embedding_width or config.width


def _table(name: str, parameter: str, shape: tuple[int, int]) -> TensorSlot:
    return TensorSlot(name, parameter, shape, inputs=None)


def _norm(name: str, parameter: str, width: int, layer: int | None = None) -> Iterator[TensorSlot]:
    yield TensorSlot(f"{name}.weight", f"{parameter}/scale", (width,), layer)
    yield TensorSlot(f"{name}.bias", f"{parameter}/bias", (width,), layer)


def _projection(
    name: str,
    parameter: str,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    layer: int,
    start: int = 0,
) -> Iterator[TensorSlot]:
    kernel = (*inputs, *outputs)
    yield TensorSlot(f"{name}.weight", f"{parameter}/kernel", kernel, layer, start, len(inputs))
    yield TensorSlot(f"{name}.bias", f"{parameter}/bias", outputs, layer, start)
