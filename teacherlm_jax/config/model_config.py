"""Shape and numerics of a model, and the mesh of devices it is sharded over."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, number, plain
from teacherlm_jax.config.names import ATTENTION


@dataclasses.dataclass
class ModelConfig:
    """Shape and numerics of a model."""

    family: str = choice("bloom", "opt", help="architecture")
    layers: int = at_least(1, 2, help="number of blocks")
    width: int = at_least(1, 64, help="width of the hidden states; a multiple of `heads`")
    heads: int = at_least(1, 4, help="attention heads per block")
    vocab_size: int = at_least(
        0, 0, help="tokens in the embedding; 0: the size of the data's vocabulary (tokenizer)"
    )
    embedding_width: int = at_least(
        0,
        0,
        help="OPT only: width of the embedding, projected to `width` and back; 0: same as `width`",
    )
    max_positions: int = at_least(
        0, 0, help="OPT only: longest text, in tokens (2048 as published); BLOOM has no limit"
    )
    norm: str = choice(
        *("before", "after"), help="OPT only: layer norms before or after each sublayer"
    )
    tied: bool = plain(True, help="use the embedding as the output head")
    layer_norm_epsilon: float = number(
        1e-5, limits="(0, inf)", help="added to the variance in layer norms"
    )
    initializer_range: float = number(
        0.02, limits="(0, inf)", help="standard deviation of randomly initialized weights"
    )
    dtype: str = choice("bfloat16", "float32", help="dtype of the computation")
    param_dtype: str = choice("float32", "bfloat16", help="dtype of the parameters")
    remat: str = choice(
        *("none", "dots", "full"),
        help="activation checkpointing: 'none' keeps all activations, 'dots' keeps only results of "
        "matrix products, 'full' keeps only the input of each block; the backward pass recomputes "
        "the rest",
    )
    attention: str = choice(
        *ATTENTION,
        help="attention implementation: 'xla' is the reference (memory quadratic in the length), "
        "'blockwise' needs memory linear in the length, 'fused' is a kernel for TPUs",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.width % self.heads:
            yield "width", f"{self.width} is not divisible by heads={self.heads}"
        if self.family == "opt" and not self.max_positions:
            yield "max_positions", "0; OPT learns positions, so set the longest text (e.g. 2048)"
        if self.family == "bloom":
            for key, usual in (("embedding_width", 0), ("max_positions", 0), ("norm", "before")):
                if getattr(self, key) != usual:
                    yield key, f"{getattr(self, key)!r} is for OPT only; leave it at {usual!r}"


@dataclasses.dataclass
class MeshConfig:
    """Devices along each mesh axis; one axis may be -1 and takes the remaining devices."""

    data: int = at_least(
        -1,
        -1,
        help="data parallelism: copies of the model, which share the rows of a batch, or the slots "
        "of `annotate`",
    )
    fsdp: int = at_least(
        -1,
        1,
        help="parameters, optimizer state, and the rows of a batch or the slots of `annotate` are "
        "sharded over this axis",
    )
    tensor: int = at_least(
        -1, 1, help="heads, MLP and vocabulary are sharded over this axis (tensor parallelism)"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        sizes = dataclasses.asdict(self)
        for axis, size in sizes.items():
            if size == 0:
                yield axis, "0; set a positive number, or -1 for the remaining devices"
        if list(sizes.values()).count(-1) > 1:
            yield "data", "only one axis can be -1 and take the remaining devices"
