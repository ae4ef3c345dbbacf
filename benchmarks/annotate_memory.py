"""`make bench-annotate_memory`: memory and speed of `annotate` at 10,000 and at 1,000,000 rows.

The teacher is a stub that returns texts at once, so this measures everything around the
generation: reading the source, planning, writing shards, figures. Memory is the largest resident
memory of the process. With a real teacher the model and its cache are added, which do not depend on
the number of rows. Speeds are compared by the processor time of a row, less that of a job of 100
rows, because other work on the machine slows the two jobs down by different amounts.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax.numpy as jnp
from flax import nnx

from benchmarks import harness
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.models import registry
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

SMALLEST = 100  # rows of the job whose processor time is the start of the process
SIZES = (10_000, 1_000_000)
REPEATS = 5  # of the two short jobs, whose processor times vary by a few percent
MEMORY, SPEED = 10, 5  # goals: percent by which the larger job may be worse
SAMPLES = 200  # different questions
CONFIG = """
from teacherlm_jax import config

def get_config(variant):
    return config.AnnotateConfig(
        output="",
        source=config.SourceConfig("toys", variant),
        teachers=config.TeachersConfig(cot={teacher!r}),
        sampling=config.SamplingConfig(max_new_tokens=12),
        gates=("finished", "not_empty"),
    )
"""


def main() -> int:
    """Run the benchmark and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="annotate_memory") as name:
        folder = Path(name)
        config = write_teacher(folder)
        start = repeated(folder, config, SMALLEST)["processor_seconds"]
        small, large = SIZES
        figures = {small: repeated(folder, config, small), large: measured(folder, config, large)}
    for own in figures.values():
        own["tokens_per_processor_second"] = own["tokens"] / (own["processor_seconds"] - start)
    table = [
        (f"{rows:,}", f"{own['mib']:.0f}", f"{own['tokens_per_processor_second']:,.0f}",
         f"{own['tokens_per_second']:,.0f}", f"{own['seconds']:.0f}")
        for rows, own in figures.items()
    ]  # fmt: skip
    header = ("rows", "resident MiB", "tokens per processor second", "tokens/s", "seconds")
    text = harness.table(header, table)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "annotate_memory", text + harness.conditions())
    before, after = figures[small], figures[large]
    memory = 100 * (after["mib"] / before["mib"] - 1)
    speed = 100 * (1 - after["tokens_per_processor_second"] / before["tokens_per_processor_second"])
    return harness.finish(
        "annotate_memory",
        f"{memory:+.1f} % memory, {speed:+.1f} % slower, with a stub for the generation",
        f"at most {MEMORY} % and {SPEED} %",
        memory <= MEMORY and speed <= SPEED,
        {str(rows): own for rows, own in figures.items()},
    )


def write_teacher(folder: Path, layers: int = 1, width: int = 16) -> Path:
    """Write a teacher with random parameters and a config that names it; return the config."""
    samples = list(synthetic.generate(SAMPLES, seed=1))
    texts = ["".join(p.text for p in prompts.explanation_pieces(s, "cot")) for s in samples]
    vocabulary = train_sentencepiece(texts, folder / "teacher" / "vocabulary", size=400, seed=0)
    shape = ModelConfig(
        layers=layers, width=width, heads=2, vocab_size=vocabulary.size, dtype="float32"
    )
    checkpoints = Checkpoints(folder / "teacher")
    parameters = nnx.to_pure_dict(nnx.split(registry.build(shape, nnx.Rngs(0)))[1])
    meta = {"model": vars(shape), "vocabulary": vocabulary.digest}
    checkpoints.save(1, parameters, {"step": jnp.int32(1)}, meta)
    checkpoints.close()
    path = folder / "config.py"
    files.write_text(path, CONFIG.format(teacher=str(folder / "teacher")))
    return path


def repeated(folder: Path, config: Path, rows: int) -> dict[str, float]:
    """Measure a short job several times; return the figures with the median processor time."""
    figures = [measured(folder, config, rows) for _ in range(REPEATS)]
    return sorted(figures, key=lambda own: own["processor_seconds"])[REPEATS // 2]


def measured(folder: Path, config: Path, rows: int) -> dict[str, float]:
    """Annotate a number of rows in a process; return its figures."""
    source = folder / f"{rows}.jsonl"
    output = Path(tempfile.mkdtemp(prefix=f"run-{rows}-", dir=folder)) / "run"
    write_rows(source, rows)
    command = [sys.executable, "-m", "benchmarks.stub_teacher", "0", "annotate"]
    words = [f"--config={config}:{source}", f"--config.output={output}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    process = subprocess.Popen([*command, *words], cwd=harness.ROOT, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{output}: the run failed")
    result = files.read_json(output / "result.json")
    if result["rows"] != rows:
        raise RuntimeError(f"{output}: {result['rows']} rows, expected {rows}")
    return {
        "mib": usage.ru_maxrss / 1024,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "tokens": result["tokens_per_second"] * result["seconds"],
        "tokens_per_second": result["tokens_per_second"],
        "seconds": result["seconds"],
    }


def write_rows(path: Path, rows: int) -> None:
    """Write a source with distinct ids and questions."""
    samples = list(synthetic.generate(SAMPLES, seed=1))
    with path.open("w") as file:
        for number in range(rows):
            file.write(json.dumps(_row(samples[number % SAMPLES], number)) + "\n")


def _row(sample: Sample, number: int) -> dict[str, object]:
    name = f"{number:07d}"  # of one width: in the larger job the prompts must not be longer
    return {
        "id": f"row-{name}",
        "question": f"{name}: {sample.question}",
        "options": list(sample.options),
        "answer": sample.answer,
    }


if __name__ == "__main__":
    sys.exit(main())
