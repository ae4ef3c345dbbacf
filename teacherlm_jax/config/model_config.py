"""Shape and numerics of a model, and the devices it is spread over."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, number
from teacherlm_jax.config.names import ATTENTION


@dataclasses.dataclass
class ModelConfig:
    """Shape and numerics of a model."""

    family: str = choice("bloom", "opt")
    layers: int = at_least(1, 2)
    width: int = at_least(1, 64)
    heads: int = at_least(1, 4)
    vocab_size: int = at_least(0, 0)  # 0: as many rows as the vocabulary has
    embedding_width: int = at_least(0, 0)  # OPT: projected to the width and back; 0: the width
    max_positions: int = at_least(0, 0)  # OPT: the longest text in tokens; BLOOM has no limit
    norm: str = choice("before", "after")  # OPT: where a block's layer norms stand
    tied: bool = True  # the head is the embedding
    layer_norm_epsilon: float = number(1e-5, limits="(0, inf)")
    initializer_range: float = number(0.02, limits="(0, inf)")
    dtype: str = choice("bfloat16", "float32")  # of the computation
    param_dtype: str = choice("float32", "bfloat16")
    remat: str = choice("none", "dots", "full")  # what the backward pass computes again
    attention: str = choice(*ATTENTION)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.width % self.heads:
            yield "width", f"{self.width} is not divisible by heads={self.heads}"
        if self.family == "opt" and not self.max_positions:
            yield "max_positions", "0; OPT learns its positions, so say how many (2048 published)"
        if self.family == "bloom":
            for key, usual in (("embedding_width", 0), ("max_positions", 0), ("norm", "before")):
                if getattr(self, key) != usual:
                    yield key, f"{getattr(self, key)!r}: BLOOM has none; leave {usual!r}"


@dataclasses.dataclass
class MeshConfig:
    """Devices along each mesh axis; one axis may be -1 and takes what the others leave."""

    data: int = at_least(-1, -1)
    fsdp: int = at_least(-1, 1)
    tensor: int = at_least(-1, 1)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        sizes = dataclasses.asdict(self)
        for axis, size in sizes.items():
            if size == 0:
                yield axis, "0; give a positive number, or -1 for what the other axes leave"
        if list(sizes.values()).count(-1) > 1:
            yield "data", "only one axis can be -1 and take what the others leave"
