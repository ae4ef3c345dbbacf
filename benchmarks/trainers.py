"""Child process of `benchmarks/train.py`: training steps in JAX or in transformers.

    python -m benchmarks.trainers weights|jax|transformers FOLDER ROUND

The folder contains `case.json`, weights in the Hugging Face format (written by `weights`), and
batches. For every workload NAME, a first step on `NAME.check.npz` is not timed, and the steps on
`NAME.ROUND.*.npz` are. The last line of the output is a `WorkloadResult` per workload as JSON.
"""

import dataclasses
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from teacherlm_jax.config import MeshConfig, ModelConfig, OptimizerConfig, TrainConfig
from teacherlm_jax.storage import files

Batch = Mapping[str, np.ndarray]  # tokens, segment_ids, positions, loss_mask: [B, T]
Train = Callable[[Batch], float]  # one update; returns the loss before it

# Clipping at 1.0 without weight decay is also the default of transformers' Trainer.
OPTIMIZER = OptimizerConfig(learning_rate=1e-4, weight_decay=0.0, clip_norm=1.0)
ARRAYS = ("tokens", "segment_ids", "positions", "loss_mask")


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and its workloads.

    Attributes:
        model: shape of the model, with the dtypes of its parameters and of the computation.
        workloads: by system, the names of the workloads in order.
    """

    model: ModelConfig
    workloads: Mapping[str, Sequence[str]]

    def write(self, folder: Path) -> None:
        """Write the case as `case.json`."""
        files.write_json(folder / "case.json", dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Case":
        """Return the case of `case.json`."""
        case = files.read_json(folder / "case.json")
        return cls(ModelConfig(**case["model"]), case["workloads"])


@dataclasses.dataclass(frozen=True)
class WorkloadResult:
    """Losses and times of the steps of a workload.

    Attributes:
        losses: loss before each update in nats, starting with that on the untimed batch.
        seconds: time of each update but the first.
        tokens: tokens of each update but the first, without padding.
    """

    losses: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    tokens: list[int] = dataclasses.field(default_factory=list)

    @property
    def speed(self) -> float:
        """Return the tokens per second, without padding."""
        return sum(self.tokens) / sum(self.seconds)


def write_batch(folder: Path, name: str, batch: Batch) -> None:
    """Write a batch to the file that the child process reads."""
    np.savez(folder / f"{name}.npz", **batch)


def run(system: str, folder: Path, round_number: int = 0) -> dict[str, WorkloadResult]:
    """Run a round of one system in a child process; return the results by workload."""
    command = [sys.executable, "-m", "benchmarks.trainers", system, str(folder), str(round_number)]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    results = json.loads(child.stdout.splitlines()[-1])
    return {name: WorkloadResult(**figures) for name, figures in results.items()}


def backend() -> str:
    """Return JAX's default backend; a child process finds it, to leave the GPU's memory free."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def weights(case: Case, folder: Path) -> None:
    """Save random weights with transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks import pairs

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(pairs.hf_config(case.model))
    model.to(getattr(torch, case.model.param_dtype)).save_pretrained(folder)


def in_jax(case: Case, folder: Path) -> Train:
    """Return the step that `teacherlm train` compiles, with weights loaded like `convert` does."""
    import jax
    from flax import nnx

    from teacherlm_jax import sharding
    from teacherlm_jax.hf import load, tensor_check
    from teacherlm_jax.hf.weights import open_weights
    from teacherlm_jax.models import registry
    from teacherlm_jax.training.optimizer import make_optimizer
    from teacherlm_jax.training.state import abstract_state, initial_state
    from teacherlm_jax.training.step import batch_shapes, compile_step

    mesh = sharding.make_mesh(MeshConfig())

    def build(rngs: nnx.Rngs) -> nnx.Module:
        return registry.build(case.model, rngs)

    graph, abstract_params = sharding.abstract_model(lambda: build(nnx.Rngs(0)), mesh)
    optimizer = make_optimizer(OPTIMIZER, 1_000_000)
    abstract = abstract_state(abstract_params, optimizer, mesh)
    pairs = tensor_check.matched(folder, case.model, open_weights(folder))
    params = load.load(pairs, abstract_params, lambda: None)
    state = initial_state(build, optimizer, abstract, 0, params)
    del params
    batch_sharding = sharding.batch_sharding(mesh)

    @functools.cache
    def compiled(rows: int, length: int):
        with jax.set_mesh(mesh):
            shapes = batch_shapes(rows, length, mesh)
            return compile_step(graph, optimizer, abstract, shapes, mesh, TrainConfig.loss_block)

    def train(batch: Batch) -> float:
        nonlocal state
        placed = {name: jax.device_put(batch[name], batch_sharding) for name in ARRAYS}
        state, metrics = compiled(*batch["tokens"].shape)(state, placed)
        jax.block_until_ready(state)
        return float(metrics["loss"] / metrics["loss_tokens"])

    return train


def in_transformers(case: Case, folder: Path) -> Train:
    """Return the inner loop of `transformers.Trainer` with defaults: fused AdamW, clipping at 1.

    For BLOOM, transformers implements only eager attention.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtypes[case.model.param_dtype])
    model.train().to(device)
    settings = OPTIMIZER
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.b1, settings.b2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    autocast = torch.autocast(
        device, dtypes[case.model.dtype], enabled=case.model.dtype != case.model.param_dtype
    )

    def train(batch: Batch) -> float:
        tokens = torch.from_numpy(batch["tokens"]).long().to(device)
        mask = torch.from_numpy(batch["segment_ids"] > 0).long().to(device)
        with autocast:
            loss = model(
                input_ids=tokens,
                attention_mask=mask,
                labels=torch.where(mask > 0, tokens, -100),
                use_cache=False,
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()  # waits for the device

    return train


def main() -> int:
    """Train all workloads of a system and print the results as JSON."""
    system, folder, round_number = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    case = Case.read(folder)
    results: dict[str, WorkloadResult] = {}
    if system == "weights":
        weights(case, folder)
    else:
        train = {"jax": in_jax, "transformers": in_transformers}[system](case, folder)
        for name in case.workloads[system]:
            timed = sorted(folder.glob(f"{name}.{round_number}.*.npz"))
            results[name] = steps(train, [folder / f"{name}.check.npz", *timed])
    print(json.dumps({name: dataclasses.asdict(result) for name, result in results.items()}))
    return 0


def steps(train: Train, paths: Sequence[Path]) -> WorkloadResult:
    """Make one update on the batch of each file; the first one is not timed."""
    result = WorkloadResult()
    for path in paths:
        with np.load(path) as arrays:
            batch = dict(arrays)
        start = time.perf_counter()
        result.losses.append(train(batch))
        result.seconds.append(time.perf_counter() - start)
        result.tokens.append(int(np.count_nonzero(batch["segment_ids"])))
    del result.seconds[0], result.tokens[0]
    return result


if __name__ == "__main__":
    sys.exit(main())
