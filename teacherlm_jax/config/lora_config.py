"""Settings of LoRA: low-rank adapters that are trained in place of a model's own parameters."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, not_among, number, plain
from teacherlm_jax.config.names import LORA_TARGETS


@dataclasses.dataclass
class LoraConfig:
    """LoRA (arXiv 2106.09685): the model of `init_from` is frozen, and adapters are trained."""

    rank: int = at_least(
        0, 0, help="rank of the adapters; 0: no adapters, all parameters are trained"
    )
    alpha: float = number(
        16.0, limits="(0, inf)", help="the output of an adapter is multiplied by alpha / rank"
    )
    targets: tuple[str, ...] = plain(
        LORA_TARGETS,
        help=f"projections of every block that get an adapter: some of {', '.join(LORA_TARGETS)}",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        for target in self.targets:
            if target not in LORA_TARGETS:
                yield "targets", not_among(target, LORA_TARGETS)
        if len(set(self.targets)) < len(self.targets):
            yield "targets", f"{self.targets} names one twice; names must differ"
        if self.rank and not self.targets:
            yield "targets", "empty; name at least one projection"
