"""Commands in several processes on this machine, as `launch/local.py` starts them."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import teacherlm_jax
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from tests import xla_flags

ROOT = Path(teacherlm_jax.__file__).parents[1]
STEPS = 6
DEVICES = 8  # of all processes together
CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return TrainConfig(
        data={data!r},
        model=ModelConfig(layers=2, width=32, heads=2, vocab_size=400, dtype="float32"),
        optimizer=OptimizerConfig(learning_rate=0.01, warmup_steps=2, weight_decay=0.1),
        mesh=MeshConfig(data=2, fsdp=4),
        checkpoint=CheckpointConfig(every=1, keep=9),
        batch_size=8,
        steps={steps},
        log_every=1,
    )
"""
BENCHMARK = """
from teacherlm_jax.config import *

def get_config(variant):
    return EvaluateConfig(
        root={folder!r},
        model="{folder}/whole",
        benchmarks=(BenchmarkConfig("questions", "questions.jsonl"),),
        mesh=MeshConfig(data=2, fsdp=4),
    )
"""
SECONDS = 300  # for one run, on a busy machine


class Launch:
    """A running launcher."""

    def __init__(
        self, folder, output, *overrides, processes=2, verb="train", config="train", place=None
    ):
        """Start a command whose run folder is `output` in `place`, by default `folder`."""
        self.run = StoragePath(place or folder) / output
        words = [verb, f"--config={folder}/{config}.py", f"--config.output={self.run}", *overrides]
        self._process = subprocess.Popen(
            [
                *(sys.executable, ROOT / "launch" / "local.py", f"--processes={processes}"),
                *(
                    f"--devices={DEVICES // processes}",
                    f"--logs={folder}/logs-{output}",
                    "--",
                    *words,
                ),
            ],
            env={
                **os.environ,
                "XLA_FLAGS": xla_flags.FAST,
                "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        first = self._process.stdout.readline()
        self.pids = [int(pid) for pid in re.findall(r"\d is (\d+)", first)]

    def wait_for(self, seen):
        """Return once `seen()` is true; the launcher must be running until then."""
        end = time.monotonic() + SECONDS
        while not seen():
            assert self._process.poll() is None, self._process.stdout.read()
            assert time.monotonic() < end
            time.sleep(0.02)

    def terminate(self):
        self._process.terminate()

    def end(self):
        """Return the exit status and the output, after all processes have ended."""
        shown, _ = self._process.communicate(timeout=SECONDS)
        assert not any(Path(f"/proc/{pid}").exists() for pid in self.pids)
        return self._process.returncode, shown

    def losses(self):
        return {
            row["step"]: (row["loss"], row["grad_norm"])
            for _, row in files.read_jsonl(self.run / "metrics.jsonl")
        }


def write_configs(folder, data, root):
    """Write train.py and evaluate.py, and the three questions that the latter reads, to `folder`.

    `data` is the prepared folder, and `root` the folder of the questions and of the run `whole`.
    """
    (folder / "train.py").write_text(CONFIG.format(data=str(data), steps=STEPS))
    (folder / "evaluate.py").write_text(BENCHMARK.format(folder=str(root)))
    rows = [
        {"id": f"q{number}", "question": f"is {word} one", "options": ["so", "not"], "answer": "A"}
        for number, word in enumerate(("red", "green", "blue"))
    ]
    files.write_jsonl(StoragePath(root) / "questions.jsonl", rows)
