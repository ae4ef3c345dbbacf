"""How a model is trained."""

import dataclasses
import re
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, location, number
from teacherlm_jax.config.inference_config import BenchmarkConfig
from teacherlm_jax.config.model_config import MeshConfig, ModelConfig


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
    best: int = at_least(0, 0)  # and as many of the best by config.validation.metric


HELD_OUT = "held_out"  # what validation calls the rows of its `data`


@dataclasses.dataclass
class ValidationConfig:
    """Measuring a model while it trains: on benchmarks, and by its loss on held-out rows."""

    every: int = at_least(0, 0)  # steps, and after the last one; 0: never
    root: str = location()  # folder that the benchmarks' paths are taken under
    benchmarks: tuple[BenchmarkConfig, ...] = ()
    data: str = location(local=True)  # folder of one prepared mixture: the held-out rows
    rows: int = at_least(0, 0)  # of these at most; 0: all
    max_length: int = at_least(2, 2048)  # tokens of a benchmark's prompt
    batch_tokens: int = at_least(1, 16384)
    # what checkpoints are compared by: BENCHMARK/accuracy, BENCHMARK/macro_accuracy, held_out/loss
    # or held_out/accuracy
    metric: str = ""
    patience: int = at_least(0, 0)  # measurements without a better one that end the run; 0: none

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured."""
        names = [
            f"{benchmark.name}/{kind}"
            for benchmark in self.benchmarks
            for kind in ("accuracy", "macro_accuracy")
        ]
        held_out = [f"{HELD_OUT}/{kind}" for kind in ("loss", "accuracy")] if self.data else []
        return (*names, *held_out)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if bool(self.every) != bool(self.metrics):
            yield "every", "goes with config.validation.benchmarks or .data; give both or neither"
        names = [benchmark.name for benchmark in self.benchmarks]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield "benchmarks", f"the name {twice!r} stands twice"
        if HELD_OUT in names:
            yield (
                "benchmarks",
                f"the name {HELD_OUT!r} is that of the rows of config.validation.data",
            )
        if self.metric and self.metric not in self.metrics:
            measured = ", ".join(self.metrics) or "nothing"
            yield "metric", f"{self.metric!r} is not measured; measured are: {measured}"
        if self.patience and not self.metric:
            yield "metric", "empty; config.validation.patience needs one"
        if self.rows and not self.data:
            yield "rows", "is for config.validation.data alone; leave it at 0"


@dataclasses.dataclass
class ProfileConfig:
    """A trace of some steps for TensorBoard or Perfetto, in the run folder's `profile/`."""

    steps: str = ""  # FIRST:LAST, as in 10:15, both traced; empty: none
    memory: bool = False  # also what is in the devices' memory after the last of them

    @property
    def bounds(self) -> tuple[int, int] | None:
        """The first and the last step that are traced."""
        match = re.fullmatch(r"(\d+):(\d+)", self.steps)
        return (int(match[1]), int(match[2])) if match else None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.steps and not (self.bounds and 1 <= self.bounds[0] <= self.bounds[1]):
            yield "steps", f"{self.steps!r}; wanted FIRST:LAST, as in 10:15, steps counting from 1"
        if self.memory and not self.steps:
            yield "memory", "says what to add to a trace; give config.profile.steps"


@dataclasses.dataclass
class TrainConfig:
    """One training run: a stage of a teacher, or a student."""

    output: str = location(required=True)  # run folder
    data: str = location(required=True, local=True)  # folder of one prepared mixture
    # where the parameters come from: a run folder (its newest checkpoint), RUN/checkpoints/STEP,
    # RUN/checkpoints/best, or a folder of Hugging Face's layout; empty: random
    init_from: str = location()
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    validation: ValidationConfig = dataclasses.field(default_factory=ValidationConfig)
    profile: ProfileConfig = dataclasses.field(default_factory=ProfileConfig)
    verify_data: bool = True  # read every shard once and compare its digest before training
    batch_size: int = at_least(1, 8)  # packed rows a step, over all devices
    accumulate: int = at_least(1, 1)  # parts of a batch that go through the model in turn
    steps: int = at_least(1, 100)
    seed: int = number(0, limits="[0, 2147483647]")
    log_every: int = at_least(1, 10)  # steps between progress lines
    loss_block: int = at_least(1, 512)  # tokens whose logits exist at a time on one device
    compilation_cache: str = (
        location()
    )  # folder that keeps compiled programs; empty: as JAX is told

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.optimizer.warmup_steps >= self.steps:
            yield (
                "optimizer.warmup_steps",
                f"{self.optimizer.warmup_steps} leaves nothing of steps={self.steps}",
            )
        if self.batch_size % self.accumulate:
            yield (
                "accumulate",
                f"{self.accumulate} does not divide batch_size={self.batch_size}",
            )
        if self.profile.bounds and self.profile.bounds[1] > self.steps:
            yield (
                "profile.steps",
                f"{self.profile.steps!r} ends after the last of steps={self.steps}",
            )
        if self.checkpoint.best and not self.validation.metric:
            yield "checkpoint.best", "needs config.validation.metric to tell which is best"
