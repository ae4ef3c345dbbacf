"""`make bench-kill_annotate`: annotations that are killed many times must have the same bytes.

A tiny teacher explains generated samples in real processes, alone and four together, on a disk and
in a bucket (an object store on this machine). Processes are killed at random times, mostly with
SIGKILL and sometimes with SIGTERM, and each is replaced by a new one. The explanations and the
annotated samples must equal those of one process that is left alone: nothing twice, nothing
missing.
"""

import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from etils import epath

from benchmarks import annotate_memory, bucket, harness
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

GOAL, CHAINS = 50, 10  # minimum of kills, and of jobs that are killed
LONGEST = 8  # maximum of kills of one job
ROWS = 800
PARTS = ("texts/cot", "texts/mistake", "samples")
PHASES = ("start", "plan", "work", "end")
WORDS = (
    "--config.teachers.mistake={teacher}",
    "--config.rows_per_shard=20",
    "--config.slots=8",
    "--config.sampling.max_new_tokens=24",
)
_DEADLINE = 300  # seconds for one job


def main() -> int:
    """Run the benchmark and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="kill_annotate") as folder, bucket.server() as url:
        os.environ.update(bucket.environment(url))
        os.environ["TMPDIR"] = folder
        return measured(Path(folder), f"gs://{bucket.NAME}/runs")


def measured(folder: Path, in_bucket: str) -> int:
    """Kill jobs again and again; print, record and return the verdict."""
    words = prepare(folder)
    run_alone(folder, words, StoragePath(folder / "warm"))  # fills the compilation cache
    seconds = run_alone(folder, words, StoragePath(folder / "alone"))
    expected = contents(StoragePath(folder / "alone"))
    draw, killed, differing = random.Random(0), collections.Counter[tuple[str, str]](), []
    chains = 0
    while chains < CHAINS or killed.total() < GOAL:
        place, workers = ("disk", "bucket")[chains % 2], (1, 4)[chains // 2 % 2]
        output = StoragePath(in_bucket if place == "bucket" else folder) / f"chain{chains}"
        chains += 1
        job = Job(folder, words, output, draw, seconds)
        killed += job.run(workers)
        differing += [f"{output}: {name}" for name in differences(contents(output), expected)]
    rows = [(phase, *(killed[phase, name] for name in ("SIGKILL", "SIGTERM"))) for phase in PHASES]
    text = harness.table(("phase of the process", "SIGKILL", "SIGTERM"), rows)
    text += f"\n{killed.total()} kills in {chains} jobs, {len(differing)} differences.\n"
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "kill_annotate", text + harness.conditions())
    for difference in differing:
        print(f"differs: {difference}")
    count = killed.total()
    return harness.finish(
        "kill_annotate",
        f"{count} kills, {chains} jobs, {len(differing)} differences",
        f"at least {GOAL} kills, 0 differences",
        count >= GOAL and not differing,
        {
            "phases": {row[0]: row[1:] for row in rows},
            "differing": differing,
            "seconds": seconds,
        },
    )


def prepare(folder: Path) -> list[str]:
    """Write a teacher, samples and a config; return the arguments that name them."""
    config = annotate_memory.write_teacher(folder)
    annotate_memory.write_rows(folder / "rows.jsonl", ROWS)
    words = [word.format(teacher=folder / "teacher") for word in WORDS]
    return [f"--config={config}:{folder / 'rows.jsonl'}", *words]


def start(folder: Path, words: list[str], output: epath.Path) -> subprocess.Popen:
    """Start a process that works on a job."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-m", "teacherlm_jax", "annotate", *words]
    with (folder / "output.txt").open("a") as out:
        return subprocess.Popen(
            [*command, f"--config.output={output}"],
            cwd=harness.ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip


def run_alone(folder: Path, words: list[str], output: epath.Path) -> float:
    """Let one process finish a job; return the seconds it took."""
    began = time.monotonic()
    if start(folder, words, output).wait():
        raise RuntimeError(f"{output}: failed:\n{(folder / 'output.txt').read_text()}")
    return time.monotonic() - began


def contents(output: epath.Path) -> dict[str, bytes]:
    """Return the content of all explanations and annotated samples of a job, by path."""
    return {
        f"{part}/{name}": files.read_bytes(output / part / name)
        for part in PARTS
        for name in files.names(output / part)
    }


def differences(actual: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Return the names of the files in which two jobs differ."""
    names = sorted(actual.keys() | expected.keys())
    return [name for name in names if actual.get(name) != expected.get(name)]


class Job:
    """A job on which several processes work, some of which are killed."""

    def __init__(
        self,
        folder: Path,
        words: list[str],
        output: epath.Path,
        draw: random.Random,
        seconds: float,
    ):
        """Start nothing yet; `seconds` is the time that one process needs for the job."""
        self._folder, self._words, self._output = folder, words, output
        self._draw, self._seconds = draw, seconds

    def run(self, workers: int) -> collections.Counter[tuple[str, str]]:
        """Run a number of processes until the job is finished; count kills by phase and signal."""
        killed: collections.Counter[tuple[str, str]] = collections.Counter()
        processes = [self._start() for _ in range(workers)]
        end = time.monotonic() + _DEADLINE
        due = self._next()
        while any(process.poll() is None for process in processes):
            if time.monotonic() > end:
                raise RuntimeError(f"{self._output}: the job does not end")
            time.sleep(0.02)
            alive = [process for process in processes if process.poll() is None]
            if time.monotonic() < due or killed.total() >= LONGEST or not alive:
                continue
            killed += self._kill(self._draw.choice(alive))
            processes.append(self._start())
            due = self._next()
        if processes[-1].returncode:
            raise RuntimeError(
                f"{self._output}: failed:\n{(self._folder / 'output.txt').read_text()}"
            )
        return killed

    def _start(self) -> subprocess.Popen:
        return start(self._folder, self._words, self._output)

    def _next(self) -> float:
        return time.monotonic() + self._draw.uniform(0.2, self._seconds)

    def _kill(self, process: subprocess.Popen) -> collections.Counter[tuple[str, str]]:
        """Kill a process; count it unless it ended by itself."""
        number = signal.SIGTERM if self._draw.random() < 0.2 else signal.SIGKILL
        phase = self._phase(process)
        process.send_signal(number)
        status = process.wait()
        if status not in (0, -number, 128 + number):
            raise RuntimeError(
                f"{self._output}: exit status {status}, expected {number.name}:\n"
                f"{(self._folder / 'output.txt').read_text()}"
            )
        return collections.Counter({(phase, number.name): int(status != 0)})

    def _phase(self, process: subprocess.Popen) -> str:
        """Return the phase of a process: start, plan, work or end."""
        if not any(f"-{process.pid}-" in name for name in files.names(self._output / "workers")):
            return "start"
        if not files.exists(self._output / "job.json"):
            return "plan"
        return "work" if files.names(self._output / "claims") else "end"


if __name__ == "__main__":
    sys.exit(main())
