"""Settings of `train`."""

import dataclasses
import re
from collections.abc import Iterator

from teacherlm_jax.config import paper_models
from teacherlm_jax.config.benchmark_config import BenchmarkConfig
from teacherlm_jax.config.fields import at_least, choice, group, location, number, plain
from teacherlm_jax.config.lora_config import LoraConfig
from teacherlm_jax.config.model_config import MeshConfig, ModelConfig
from teacherlm_jax.config.names import MODEL_PATHS
from teacherlm_jax.config.tracking_config import TrackingConfig, track_field, track_problems

# Keys that may change when a run is resumed, for example on other devices. They change neither the
# data, nor its order, nor the hyperparameters.
CHANGEABLE = (
    *("mesh", "checkpoint", "log_every", "verify_data", "profile", "compilation_cache"),
    *("data_cache", "data_cache_gib", "accumulate", "loss_block", "model.remat"),
    *("track", "tracking", "validation.batch_tokens"),
)


@dataclasses.dataclass
class OptimizerConfig:
    """AdamW with gradient clipping; linear warm-up, then `schedule`."""

    learning_rate: float = number(1e-4, limits="(0, inf)", help="peak learning rate")
    warmup_steps: int = at_least(0, 0, help="steps of linear warm-up; fewer than `steps`")
    schedule: str = choice(
        *("constant", "linear", "cosine"), help="learning rate after the warm-up"
    )
    final_fraction: float = number(
        0.0, limits="[0, 1]", help="learning rate at the last step, as a fraction of the peak"
    )
    b1: float = number(0.9, limits="[0, 1)", help="decay rate of the first moment")
    b2: float = number(0.95, limits="[0, 1)", help="decay rate of the second moment")
    eps: float = number(
        1e-8, limits="(0, inf)", help="added to the root of the second moment in the update"
    )
    weight_decay: float = at_least(
        0, 0.0, help="decoupled weight decay of all parameters except norms and biases"
    )
    clip_norm: float = number(
        1.0, limits="(0, inf)", help="gradients are scaled down to this global norm"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.final_fraction and self.schedule == "constant":
            problem = f"{self.final_fraction} has no effect while the learning rate is constant"
            yield "final_fraction", f"{problem}; set config.optimizer.schedule to linear or cosine"


@dataclasses.dataclass
class CheckpointConfig:
    """Checkpoints; one is always saved at the end, and on SIGTERM, Ctrl-C or SIGHUP."""

    every: int = at_least(
        0, 0, help="steps between checkpoints; 0: only at the end, so a crash loses the whole run"
    )
    keep: int = at_least(1, 2, help="number of newest checkpoints to keep")
    best: int = at_least(
        0, 0, help="number of best checkpoints to keep as well, by validation.metric"
    )


HELD_OUT = "held_out"  # name of the rows of `ValidationConfig.data` in metrics


@dataclasses.dataclass
class ValidationConfig:
    """Validation during training: accuracy on benchmarks, and loss on held-out rows."""

    every: int = at_least(
        0, 0, help="steps between measurements (one more after the last step); 0: never"
    )
    root: str = location(help="folder that the benchmarks' paths are relative to")
    benchmarks: tuple[BenchmarkConfig, ...] = plain((), help="datasets for rank classification")
    data: str = location(local=True, help="prepared mixture with held-out data")
    rows: int = at_least(0, 0, help="held-out packed rows to use, at most; 0: all")
    max_length: int = at_least(
        2, 2048, help="longest benchmark prompt, in tokens; longer ones are truncated on the left"
    )
    batch_tokens: int = at_least(
        1, 16384, help="tokens per forward pass on benchmarks; lower it when memory runs out"
    )
    metric: str = plain(
        "",
        help="metric that picks the best checkpoint: BENCHMARK/accuracy, BENCHMARK/macro_accuracy, "
        "held_out/loss or held_out/accuracy",
    )
    patience: int = at_least(
        0, 0, help="stop early after this many measurements without a better metric; 0: never"
    )

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that are measured."""
        names = [
            f"{benchmark.name}/{kind}"
            for benchmark in self.benchmarks
            for kind in ("accuracy", "macro_accuracy")
        ]
        held_out = [f"{HELD_OUT}/{kind}" for kind in ("loss", "accuracy")] if self.data else []
        return (*names, *held_out)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if bool(self.every) != bool(self.metrics):
            yield (
                "every",
                "works only with config.validation.benchmarks or .data; set both or neither",
            )
        names = [benchmark.name for benchmark in self.benchmarks]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield "benchmarks", f"two have the name {twice!r}; names must differ"
        if HELD_OUT in names:
            yield (
                "benchmarks",
                f"the name {HELD_OUT!r} is reserved for config.validation.data; choose another",
            )
        if self.metric and self.metric not in self.metrics:
            remedy = (
                f"choose from: {', '.join(self.metrics)}"
                if self.metrics
                else "set config.validation.data or config.validation.benchmarks"
            )
            yield "metric", f"{self.metric!r} is not measured; {remedy}"
        if self.patience and not self.metric:
            yield "metric", "empty; config.validation.patience needs one"
        if self.rows and not self.data:
            yield "rows", "works only with config.validation.data; leave it at 0"


@dataclasses.dataclass
class ProfileConfig:
    """Traces of some steps for TensorBoard or Perfetto, in `profile/` of the run folder."""

    steps: str = plain("", help="first and last step to trace, as in 10:15; empty: no trace")
    memory: bool = plain(False, help="save a profile of device memory after the last traced step")

    @property
    def bounds(self) -> tuple[int, int] | None:
        """First and last traced step, or None."""
        match = re.fullmatch(r"(\d+):(\d+)", self.steps)
        return (int(match[1]), int(match[2])) if match else None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.steps and not (self.bounds and 1 <= self.bounds[0] <= self.bounds[1]):
            yield "steps", f"expected FIRST:LAST, as in 10:15, counted from 1, got {self.steps!r}"
        if self.memory and not self.steps:
            yield "memory", "adds to a trace; set config.profile.steps too"


@dataclasses.dataclass
class TrainConfig:
    """One training run: a stage of a teacher, or a student."""

    output: str = location(required=True, help="run folder")
    data: str = location(required=True, local=True, help="folder of one prepared mixture")
    init_from: str = location(
        local=True,
        hub=True,
        help=f"model with the initial parameters: {MODEL_PATHS}; empty: random parameters",
    )
    model: ModelConfig = group(ModelConfig)
    lora: LoraConfig = group(LoraConfig)
    optimizer: OptimizerConfig = group(OptimizerConfig)
    mesh: MeshConfig = group(MeshConfig)
    checkpoint: CheckpointConfig = group(CheckpointConfig)
    validation: ValidationConfig = group(ValidationConfig)
    profile: ProfileConfig = group(ProfileConfig)
    data_cache: str = location(
        "~/.cache/teacherlm/data",
        help="folder on this machine for copies of data that is in a bucket; empty, or if a copy "
        "does not fit: read each row from the bucket",
    )
    data_cache_gib: float = number(
        50,
        limits="(0, inf)",
        help="largest size of all copies in data_cache together, in GiB; the least recently used "
        "are removed to make room, and 5% of the disk, at most 2 GiB, stays free",
    )
    verify_data: bool = plain(
        True, help="before training, read every shard once and compare its digest"
    )
    batch_size: int = at_least(1, 8, help="packed rows per step, over all devices")
    accumulate: int = at_least(
        1, 1, help="gradient accumulation: split each batch into this many parts to save memory"
    )
    steps: int = at_least(1, 100, help="number of optimizer steps")
    seed: int = number(
        0, limits="[0, 2147483647]", help="seed of the initial parameters and of the data order"
    )
    log_every: int = at_least(1, 10, help="steps between progress lines")
    track: tuple[str, ...] = track_field("tensorboard")
    tracking: TrackingConfig = group(TrackingConfig)
    loss_block: int = at_least(
        1, 512, help="tokens per device whose logits are in memory at the same time"
    )
    compilation_cache: str = location(
        help="folder that keeps compiled programs for later runs; empty: JAX's own setting"
    )
    stands_for: str = plain(
        "", help=f"{paper_models.MODEL_HELP}empty: derived from mixture and shape if one fits"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if wrong := paper_models.problem(self.stands_for, paper_models.TRAINED):
            yield "stands_for", wrong
        yield from track_problems(self.track)
        if self.lora.rank and not self.init_from:
            yield "lora.rank", f"{self.lora.rank} needs config.init_from, the model to adapt"
        if self.optimizer.warmup_steps >= self.steps:
            yield (
                "optimizer.warmup_steps",
                f"{self.optimizer.warmup_steps} must be less than steps={self.steps}",
            )
        if self.batch_size % self.accumulate:
            yield (
                "accumulate",
                f"{self.accumulate} does not divide batch_size={self.batch_size}",
            )
        if self.profile.bounds and self.profile.bounds[1] > self.steps:
            yield (
                "profile.steps",
                f"{self.profile.steps!r} ends after the last step, {self.steps}",
            )
        if "://" in self.data_cache:
            yield "data_cache", f"{self.data_cache!r} must be a folder on this machine, or empty"
        if self.checkpoint.best and not self.validation.metric:
            yield "checkpoint.best", "needs config.validation.metric to compare checkpoints by"
