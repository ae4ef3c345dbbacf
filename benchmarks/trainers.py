"""One of the two systems of `benchmarks/train.py` in a process of its own: JAX, or transformers.

    python -m benchmarks.trainers weights|ours|theirs FOLDER TURN

The folder holds `case.json`, weights of Hugging Face's layout (which `weights` makes), and batches.
Of every workload NAME one step on `NAME.check.npz` comes first and is not timed; then those on
`NAME.TURN.*.npz`. The last line printed is what `Found` holds, as JSON.
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
Train = Callable[[Batch], float]  # one update; the loss before it

# What the paper leaves open is as everywhere here. Trainer's default clips at 1.0 and decays
# nothing, too.
OPTIMIZER = OptimizerConfig(learning_rate=1e-4, weight_decay=0.0, clip_norm=1.0)
ARRAYS = ("tokens", "segment_ids", "positions", "loss_mask")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        model: the shape; parameters have `param_dtype`, the computation `dtype`.
        workloads: of ours and of theirs, the names of the batches in their order.
    """

    model: ModelConfig
    workloads: Mapping[str, Sequence[str]]

    def write(self, folder: Path) -> None:
        """As `case.json`."""
        files.write_json(folder / "case.json", dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Case":
        """The case of `case.json`."""
        found = files.read_json(folder / "case.json")
        return cls(ModelConfig(**found["model"]), found["workloads"])


@dataclasses.dataclass(frozen=True)
class Found:
    """What a workload's steps came to.

    Attributes:
        losses: before each update, in nats, that on the checked batch first.
        seconds: of each update but the first.
        tokens: of each update but the first, padding not counted.
    """

    losses: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    tokens: list[int] = dataclasses.field(default_factory=list)

    @property
    def speed(self) -> float:
        """Useful tokens a second."""
        return sum(self.tokens) / sum(self.seconds)


def write_batch(folder: Path, name: str, batch: Batch) -> None:
    """A batch as the file that a child reads."""
    np.savez(folder / f"{name}.npz", **batch)


def run(system: str, folder: Path, turn: int = 0) -> dict[str, Found]:
    """A round of one system in a child process: what came of its workloads, by name."""
    command = [sys.executable, "-m", "benchmarks.trainers", system, str(folder), str(turn)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: Found(**figures) for name, figures in found.items()}


def backend() -> str:
    """What JAX would compute on, found by a child process: to ask would take a GPU's memory."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend())"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def weights(case: Case, folder: Path) -> None:
    """Random weights, written as transformers writes them."""
    import torch
    from transformers import AutoModelForCausalLM

    from benchmarks import pairs

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(pairs.their_config(case.model))
    model.to(getattr(torch, case.model.param_dtype)).save_pretrained(folder)


def ours(case: Case, folder: Path) -> Train:
    """The step that `teacherlm train` compiles, over weights read as `teacherlm convert` does."""
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
    where = sharding.batch_sharding(mesh)

    @functools.cache
    def compiled(rows: int, length: int):
        with jax.set_mesh(mesh):
            shapes = batch_shapes(rows, length, mesh)
            return compile_step(graph, optimizer, abstract, shapes, mesh, TrainConfig.loss_block)

    def train(batch: Batch) -> float:
        nonlocal state
        placed = {name: jax.device_put(batch[name], where) for name in ARRAYS}
        state, metrics = compiled(*batch["tokens"].shape)(state, placed)
        jax.block_until_ready(state)
        return float(metrics["loss"] / metrics["loss_tokens"])

    return train


def theirs(case: Case, folder: Path) -> Train:
    """The inner loop of `transformers.Trainer` with its defaults: fused AdamW, clipping at 1.

    Of BLOOM, transformers has eager attention alone.
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
        return loss.item()  # waits for a device

    return train


def main() -> int:
    """Trains, and prints what came of it."""
    system, folder, turn = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    case = Case.read(folder)
    found: dict[str, Found] = {}
    if system == "weights":
        weights(case, folder)
    else:
        train = {"ours": ours, "theirs": theirs}[system](case, folder)
        for name in case.workloads[system]:
            timed = sorted(folder.glob(f"{name}.{turn}.*.npz"))
            found[name] = steps(train, [folder / f"{name}.check.npz", *timed])
    print(json.dumps({name: dataclasses.asdict(figures) for name, figures in found.items()}))
    return 0


def steps(train: Train, paths: Sequence[Path]) -> Found:
    """One update on the batch of each file."""
    found = Found()
    for path in paths:
        with np.load(path) as arrays:
            batch = dict(arrays)
        start = time.perf_counter()
        found.losses.append(train(batch))
        found.seconds.append(time.perf_counter() - start)
        found.tokens.append(int(np.count_nonzero(batch["segment_ids"])))
    del found.seconds[0], found.tokens[0]
    return found


if __name__ == "__main__":
    sys.exit(main())
