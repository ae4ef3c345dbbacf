"""How a model is trained."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.model import MeshConfig, ModelConfig
from teacherlm_jax.fields import at_least, choice, number, required


@dataclasses.dataclass
class OptimizerConfig:
    """AdamW with global-norm clipping; the rate warms up linearly, then follows `schedule`."""

    learning_rate: float = number(1e-4, limits="(0, inf)")
    warmup_steps: int = at_least(0, 0)
    schedule: str = choice("constant", "linear", "cosine")
    final_fraction: float = number(0.0, limits="[0, 1]")  # of the peak, at the end of a decay
    b1: float = number(0.9, limits="[0, 1)")
    b2: float = number(0.95, limits="[0, 1)")
    eps: float = number(1e-8, limits="(0, inf)")
    weight_decay: float = at_least(0, 0.0)
    clip_norm: float = number(1.0, limits="(0, inf)")


@dataclasses.dataclass
class CheckpointConfig:
    """When a run saves itself. It always does at the end and on SIGTERM."""

    every: int = at_least(0, 0)  # steps; 0: only at the end
    keep: int = at_least(1, 2)  # newest checkpoints kept


@dataclasses.dataclass
class TrainConfig:
    """One training run: a stage of a teacher, or a student."""

    output: str = required()  # run folder
    data: str = required()  # folder of one prepared mixture
    init_from: str = ""  # run folder whose newest checkpoint gives the parameters; empty: random
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    verify_data: bool = True  # read every shard once and compare its digest before training
    batch_size: int = at_least(1, 8)  # packed rows a step, over all devices
    steps: int = at_least(1, 100)
    seed: int = number(0, limits="[0, 2147483647]")
    log_every: int = at_least(1, 10)  # steps between progress lines
    loss_block: int = at_least(1, 512)  # tokens whose logits exist at a time on one device

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.optimizer.warmup_steps >= self.steps:
            yield (
                "optimizer.warmup_steps",
                f"{self.optimizer.warmup_steps} leaves nothing of steps={self.steps}",
            )
