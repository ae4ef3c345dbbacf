"""Training on one GPU in bfloat16: model FLOPs utilisation, and transformers' trainer beside it.

Rows are full, of random tokens. transformers comes along where torch has CUDA; otherwise its
columns stay empty, and the goal beside it counts as unmet.
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
CASES: dict[str, tuple[ModelConfig, int]] = {  # and rows; 7.1B in float32 would not fit
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
    """One model: tokens a second of both, and the share of the GPU's peak that ours needs."""

    model: str
    ours: float
    mfu: float | None
    theirs: float | None

    @property
    def met(self) -> bool:
        """Whether both goals are; what could not be measured is unmet."""
        fast = self.theirs is not None and self.ours >= RATIO * self.theirs
        return fast and self.mfu is not None and self.mfu >= MFU

    def cells(self) -> list[str]:
        """A line of the table."""
        mfu = "" if self.mfu is None else f"{self.mfu:.1%}"
        beside = ["", ""] if self.theirs is None else [f"{self.theirs:.0f}", f"{self.ratio:.2f}"]
        return [self.model, f"{self.ours:.0f}", mfu, *beside]

    @property
    def ratio(self) -> float | None:
        """How many times theirs ours is."""
        return None if self.theirs is None else self.ours / self.theirs


def measure(name: str, device: str, beside: bool) -> Row:
    """One model, on a GPU of the kind `device`, with transformers `beside` it or alone."""
    model, rows = CASES[name]
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        for step in range(1 + STEPS):
            tokens = random.integers(2, model.vocab_size, (rows, LENGTH), np.int32)
            texts = [Encoded(row, np.ones(LENGTH, bool)) for row in tokens]
            file = f"equal.0.{step:02}" if step else "equal.check"
            trainers.write_batch(folder, file, train_batches.one_a_row(texts))
        Case(model, {"ours": ["equal"], "theirs": ["equal"]}).write(folder)
        trainers.run("weights", folder)
        ours = trainers.run("ours", folder)["equal"].speed
        theirs = trainers.run("theirs", folder)["equal"].speed if beside else None
    most = peak(device)
    return Row(name, ours, model_flops(model, ours, LENGTH) / most if most else None, theirs)


def main() -> int:
    """Measures, prints, and puts the table into docs/reference/results.md."""
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE], stdout=subprocess.PIPE, text=True, check=True
    )
    device, beside = json.loads(probe.stdout)
    found = [measure(name, device, beside) for name in CASES]
    header = ("model", "teacherlm_jax, tokens/s", "MFU", "transformers, tokens/s", "ratio")
    text = harness.table(header, [row.cells() for row in found])
    text += f"\nOn one {device}: packed rows of {LENGTH:,} tokens.\n"
    print(text)
    harness.put_into(
        harness.RESULTS_PAGE, "train_gpu", text + harness.conditions("torch", "transformers")
    )
    return harness.finish(
        "train_gpu",
        ", ".join(f"{row.model} MFU {row.mfu}, {row.ratio} times transformers" for row in found),
        f"{MFU:.0%}, {RATIO:.0f} times",
        all(row.met for row in found),
        {"device": device, "rows": [dataclasses.asdict(row) for row in found]},
    )
