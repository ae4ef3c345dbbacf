"""Training on one GPU in bfloat16: model FLOPs utilization, and speed compared with transformers.

The rows are full of random tokens. transformers runs only if torch has CUDA; otherwise its columns
are empty, and the goal of the comparison is unmet.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import harness, train_batches, trainers
from benchmarks.trainers import Case
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.models import registry
from teacherlm_jax.training.flops import model_flops, peak

LENGTH, STEPS = 1024, 10
MFU, RATIO = 0.45, 2.0  # goals
_SAME = {"dtype": "bfloat16", "attention": "blockwise", "remat": "dots"}
CASES: dict[str, tuple[ModelConfig, int]] = {  # model, rows; 7.1B in float32 does not fit
    "bloom-1b1": (registry.shape("bloom-1b1", **_SAME), 8),
    "bloom-7b1": (registry.shape("bloom-7b1", param_dtype="bfloat16", **_SAME), 4),
}
_PROBE = """
import importlib.util, jax, json
torch = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
print(json.dumps([jax.devices()[0].device_kind, bool(torch and torch.cuda.is_available())]))
"""


@dataclasses.dataclass(frozen=True)
class Row:
    """Result of one model.

    Attributes:
        model: name of the model.
        jax: tokens per second in JAX.
        mfu: model FLOPs utilization in JAX; None if the GPU's peak is unknown.
        transformers: tokens per second in transformers; None if it was not run.
    """

    model: str
    jax: float
    mfu: float | None
    transformers: float | None

    @property
    def met(self) -> bool:
        """Return whether both goals are met; a figure that was not measured is unmet."""
        fast = self.transformers is not None and self.jax >= RATIO * self.transformers
        return fast and self.mfu is not None and self.mfu >= MFU

    def cells(self) -> list[str]:
        """Return the row of the table."""
        mfu = "" if self.mfu is None else f"{self.mfu:.1%}"
        reference = ["", ""]
        if self.transformers is not None:
            reference = [f"{self.transformers:.0f}", f"{self.ratio:.2f}"]
        return [self.model, f"{self.jax:.0f}", mfu, *reference]

    @property
    def ratio(self) -> float | None:
        """Return the speed in JAX over that in transformers."""
        return None if self.transformers is None else self.jax / self.transformers


def measure(name: str, device: str, with_transformers: bool) -> Row:
    """Measure one model on a GPU of the kind `device`."""
    model, rows = CASES[name]
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for step in range(1 + STEPS):
            tokens = random.integers(2, model.vocab_size, (rows, LENGTH), np.int32)
            texts = [Encoded(row, np.ones(LENGTH, bool)) for row in tokens]
            file = f"equal.0.{step:02}" if step else "equal.check"
            trainers.write_batch(folder, file, train_batches.one_per_row(texts))
        Case(model, {"jax": ["equal"], "transformers": ["equal"]}).write(folder)
        trainers.run("weights", folder)
        speed = trainers.run("jax", folder)["equal"].speed
        reference = None
        if with_transformers:
            reference = trainers.run("transformers", folder)["equal"].speed
    most = peak(device)
    mfu = model_flops(model, speed, LENGTH) / most if most else None
    return Row(name, speed, mfu, reference)


def main() -> int:
    """Run the benchmark; print the table and write it to docs/reference/results.md."""
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE], stdout=subprocess.PIPE, text=True, check=True
    )
    device, torch_has_cuda = json.loads(probe.stdout)
    rows = [measure(name, device, torch_has_cuda) for name in CASES]
    header = ("model", "teacherlm_jax, tokens/s", "MFU", "transformers, tokens/s", "ratio")
    text = harness.table(header, [row.cells() for row in rows])
    text += f"\nOn one {device}: packed rows of {LENGTH:,} tokens.\n"
    print(text)
    harness.put_into(
        harness.RESULTS_PAGE, "train_gpu", text + harness.conditions("torch", "transformers")
    )
    return harness.finish(
        "train_gpu",
        ", ".join(f"{row.model} MFU {row.mfu}, {row.ratio} times transformers" for row in rows),
        f"{MFU:.0%}, {RATIO:.0f} times",
        all(row.met for row in rows),
        {"device": device, "rows": [dataclasses.asdict(row) for row in rows]},
    )
