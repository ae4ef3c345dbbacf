"""`make bench-star`: accuracy of STaR over its rounds, compared with training without rationales.

On generated questions, three arms start from the same base model, the same few explained
samples and the same questions with answers:

- no rationales: a model trained on question and answer of all of them;
- filtering: STaR that keeps explanations that lead to the right answer;
- filtering and rationalization: STaR that also explains the others, given the right answer.

The arms of STaR share round 0. Each seed draws other samples and another sampling. It takes about
35 minutes on two cores. `--folder=DIR` keeps the runs and resumes them. `--seeds=100` or
another size (`--steps=200`) is a pilot, which prints its tables and records nothing.
"""

import argparse
import concurrent.futures
import dataclasses
import itertools
import os
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from benchmarks import harness, star_questions
from benchmarks.star_questions import Problem, problems
from teacherlm_jax import config
from teacherlm_jax.data.sample import LETTERS, to_row
from teacherlm_jax.pipelines import star_rows
from teacherlm_jax.storage import files

SEEDS = (0, 1, 2, 3, 4)
BASE_SEED = 1000
BASE_LENGTHS = (1, 2, 3)  # steps of a problem
LENGTHS = (2, 3, 4, 5)
ARMS = {"filter": "filtering", "rationalize": "filtering and rationalization"}
DIRECT = "no rationales"
ORIGINS = {star_rows.FILTERED: "attempts", star_rows.RATIONALIZED: "rationalizations"}


@dataclasses.dataclass(frozen=True)
class Size:
    """Sizes of the experiment."""

    base: int = 6000
    explained: int = 80
    questions: int = 1000
    test: int = 500
    rounds: int = 3
    base_steps: int = 2000
    steps: int = 400
    seed_steps: int = 200
    base_rate: float = 1.5e-3
    rate: float = 1e-3
    temperature: float = 0.5
    width: int = 128
    layers: int = 4


def run_seed(seed: int, size: Size, folder: Path, core: int) -> dict[str, Any]:
    """Run the three arms with one seed on one core; return their figures."""
    write_samples(seed, size, folder / "samples")
    first = star_config(seed, size, folder, "filter")
    run("star", first, folder, {core})
    copy_round_0(folder, "filter", "rationalize")
    run("star", star_config(seed, size, folder, "rationalize"), folder, {core})
    return {
        "seed": seed,
        DIRECT: direct(seed, size, folder, core),
        **{name: figures(folder, arm, size.rounds) for arm, name in ARMS.items()},
    }


def train_base(size: Size, folder: Path) -> None:
    """Train the model from whose weights all arms start.

    It reads problems of one to three steps without their answers, each followed by its steps, as
    facts. So it knows how to read a problem and to add, but has never seen an answer, a chain of
    thought, or a problem of more steps.
    """
    rows = []
    for number, problem in enumerate(problems(size.base, BASE_SEED, BASE_LENGTHS, "train")):
        sample = problem.sample(str(number), "fundamental")
        masked = star_rows.masked(sample)
        rows.append(to_row(dataclasses.replace(masked, explanations=sample.explanations)))
    files.write_jsonl(folder / "base.jsonl", rows)
    data = config.PrepareConfig(
        output=str(folder / "data"),
        root=str(folder),
        sources=(config.SourceConfig("base", "base.jsonl"),),
        mixtures=(
            config.MixtureConfig(
                "F", forms=("F",), author=star_questions.AUTHOR, loss="answer_and_explanations"
            ),
        ),
        vocabulary=config.VocabularyConfig(str(folder.parent / "vocabulary"), size=1024),
        length=256,
    )
    training = config.TrainConfig(
        output=str(folder / "model"),
        data=str(folder / "data/F"),
        model=model(size),
        optimizer=dataclasses.replace(optimizer(size), learning_rate=size.base_rate),
        batch_size=2,
        steps=size.base_steps,
        seed=BASE_SEED,
        log_every=100,
    )
    run("prepare", data, folder)
    run("train", training, folder)


def write_samples(seed: int, size: Size, folder: Path) -> None:
    """Write the seed set, the questions and the held-out samples."""
    counts = {"explained": size.explained, "questions": size.questions}
    drawn = problems(sum(counts.values()), seed, LENGTHS, "train")
    for name, count in counts.items():
        _write(folder / f"{name}.jsonl", itertools.islice(drawn, count))
    held_out = list(problems(size.test, seed, LENGTHS, "test"))
    _write(folder / "test.jsonl", held_out)
    rows = map(_with_options, enumerate(held_out))
    files.write_jsonl(folder / "test_options.jsonl", rows)


def _with_options(numbered: tuple[int, Problem]) -> dict[str, Any]:
    """Return a problem with every possible answer as an option, for rank classification."""
    sample = numbered[1].sample(str(numbered[0]))
    options = [str(number) for number in range(1, star_questions.LARGEST + 1)]
    letter = LETTERS[options.index(sample.answer)]
    return {**to_row(sample), "options": options, "answer": f"({letter})", "explanations": {}}


def _write(path: Path, drawn: Iterable[Problem]) -> None:
    files.write_jsonl(path, (to_row(one.sample(str(i))) for i, one in enumerate(drawn)))


def star_config(seed: int, size: Size, folder: Path, arm: str) -> config.StarConfig:
    """Return the config of an arm of STaR."""
    source = config.SourceConfig
    return config.StarConfig(
        output=str(folder / arm),
        root=str(folder / "samples"),
        explained=source("explained", "explained.jsonl"),
        author=star_questions.AUTHOR,
        questions=source("questions", "questions.jsonl"),
        test=source("test", "test.jsonl"),
        rounds=size.rounds,
        rationalize=arm == "rationalize",
        init_from=str(folder.parent / "base/model"),
        vocabulary=config.VocabularyConfig(str(folder.parent / "vocabulary")),
        length=256,
        model=model(size),
        optimizer=optimizer(size),
        batch_size=2,
        steps=size.steps,
        seed_steps=size.seed_steps,
        sampling=config.SamplingConfig(temperature=size.temperature, max_new_tokens=72),
        gates=("finished", "not_empty"),
        slots=128,
        seed=seed,
    )


def model(size: Size) -> config.ModelConfig:
    """Return the shape of the model."""
    return config.ModelConfig(
        layers=size.layers, width=size.width, heads=4, dtype="float32", initializer_range=0.08
    )


def optimizer(size: Size) -> config.OptimizerConfig:
    """Return the optimizer of every training."""
    return config.OptimizerConfig(
        learning_rate=size.rate,
        warmup_steps=min(50, size.seed_steps // 2),
        schedule="linear",
        final_fraction=0.1,
        b2=0.99,
    )


def copy_round_0(folder: Path, source: str, target: str) -> None:
    """Let an arm begin with the samples and round 0 of another one."""
    for name in ("samples", "round-0"):
        shutil.copytree(folder / source / name, folder / target / name, dirs_exist_ok=True)


def direct(seed: int, size: Size, folder: Path, core: int) -> dict[str, Any]:
    """Train a model on questions and answers alone; return its figures."""
    output = folder / "direct"
    sources = [config.SourceConfig(name, f"{name}.jsonl") for name in ("explained", "questions")]
    data = config.PrepareConfig(
        output=str(output / "data"),
        root=str(folder / "samples"),
        sources=tuple(sources),
        mixtures=(config.MixtureConfig("text", forms=("text",), loss="answer"),),
        vocabulary=config.VocabularyConfig(str(folder.parent / "vocabulary")),
        length=256,
        seed=seed,
    )
    training = config.TrainConfig(
        output=str(output / "model"),
        data=str(output / "data/text"),
        init_from=str(folder.parent / "base/model"),
        model=model(size),
        optimizer=optimizer(size),
        batch_size=2,
        steps=size.steps,
        seed=seed,
        log_every=100,
    )
    evaluation = config.EvaluateConfig(
        output=str(output / "test"),
        root=str(folder / "samples"),
        model=str(output / "model"),
        benchmarks=(
            config.BenchmarkConfig("test", "test_options.jsonl", score="texts", reduction="sum"),
        ),
    )
    for verb, settings in (("prepare", data), ("train", training), ("evaluate", evaluation)):
        run(verb, settings, folder, {core})
    measured = files.read_json(output / "test/result.json")["benchmarks"]["test"]
    return {key: measured[key] for key in ("accuracy", "majority")}


def run(verb: str, settings: Any, folder: Path, cores: Collection[int] = ()) -> None:
    """Run a command with these settings in a process, on these cores; empty: on all."""
    file = folder / f"{verb}.py"
    files.write_text(
        file,
        "from teacherlm_jax.config import *\n\n\n"
        f"def get_config(variant):\n    return {settings!r}\n",
    )
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    only_on = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
    with (folder / "output.txt").open("a") as out:
        done = subprocess.run(
            [*only_on, sys.executable, "-m", "teacherlm_jax", verb, f"--config={file}"],
            cwd=harness.ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{verb}: failed:\n{(folder / 'output.txt').read_text()[-3000:]}")


def figures(folder: Path, arm: str, rounds: int) -> list[dict[str, Any]]:
    """Return the figures of each round of an arm, with the shares of kept texts that are true."""
    runs = folder / arm
    of_rounds = []
    for number in range(rounds + 1):
        figures = files.read_json(runs / f"round-{number}/round.json")
        if number:
            figures["true"] = true_shares(folder, arm, number)
        of_rounds.append(figures)
    return of_rounds


def true_shares(folder: Path, arm: str, number: int) -> dict[str, float]:
    """Return the share of a round's kept explanations, by origin, that are true."""
    rows = files.read_jsonl(folder / "samples/questions.jsonl")
    true = {row["id"]: row["explanations"]["cot"][star_questions.AUTHOR] for _, row in rows}
    verdicts: dict[str, list[bool]] = {}
    for _, row in files.read_jsonl(folder / arm / f"round-{number}/kept.jsonl"):
        origin = row["annotations"]["cot"]["origin"]
        text = row["explanations"]["cot"][star_rows.AUTHOR]
        verdicts.setdefault(origin, []).append(text == true[row["id"]])
    return {origin: statistics.fmean(each) for origin, each in sorted(verdicts.items())}


def measure(size: Size, seeds: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Run all seeds, one per core at the same time; return their figures in order."""
    train_base(size, folder / "base")
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)

    def work(seed: int) -> dict[str, Any]:
        core = cores.get()
        try:
            return run_seed(seed, size, folder / f"seed-{seed}", core)
        finally:
            cores.put(core)

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(work, seeds))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over seeds and half the width of its 95% interval (Student's t)."""
    if len(values) < 2:
        return values[0], float("nan")
    spread = statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values), float(stats.t.ppf(0.975, len(values) - 1)) * spread


def shown(values: Sequence[float]) -> str:
    """Return a mean with its interval as text, in percent."""
    mean, half = interval([100 * value for value in values])
    return f"{mean:.1f} ± {half:.1f}" if half == half else f"{mean:.1f}"


def accuracies(results: Sequence[Mapping[str, Any]], arm: str, number: int) -> list[float]:
    """Return the accuracy of an arm after a round, by seed."""
    return [result[arm][number]["accuracy"] for result in results]


def gains(results: Sequence[Mapping[str, Any]], arm: str) -> list[float]:
    """Return the accuracy of the last round minus that of round 0, by seed."""
    return [result[arm][-1]["accuracy"] - result[arm][0]["accuracy"] for result in results]


def text_of(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables: accuracies by arm and round, and what the rounds kept."""
    rounds = range(len(results[0][ARMS["filter"]]))
    direct_row = [DIRECT, *("" for _ in rounds[:-1])]
    rows = [[*direct_row, shown([result[DIRECT]["accuracy"] for result in results])]]
    for arm in ARMS.values():
        rows.append([arm, *(shown(accuracies(results, arm, number)) for number in rounds)])
    header = ("accuracy, %", *(f"round {number}" for number in rounds))
    return f"{harness.table(header, rows)}\n{_kept_table(results, rounds[1:])}"


def _kept_table(results: Sequence[Mapping[str, Any]], rounds: Sequence[int]) -> str:
    rows = []
    for arm in ARMS.values():
        for origin, step in ORIGINS.items():
            if arm == ARMS["filter"] and origin != star_rows.FILTERED:
                continue
            cells = []
            for number in rounds:
                each = [result[arm][number] for result in results]
                count = statistics.fmean(one[step]["kept"] for one in each)
                true = [one["true"][origin] for one in each if origin in one["true"]]
                share = f", {100 * statistics.fmean(true):.0f}% true" if true else ""
                cells.append(f"{count:.0f}{share}")
            rows.append([arm, origin, *cells])
    return harness.table(("kept explanations", "", *(f"round {n}" for n in rounds)), rows)


def main() -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", default="", help="keep all runs here, and resume them")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="other seeds: a pilot")
    for field in dataclasses.fields(Size):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    given = vars(parser.parse_args())
    seeds = tuple(map(int, given.pop("seeds").split(",")))
    with tempfile.TemporaryDirectory(prefix="star") as temporary:
        folder = Path(given.pop("folder") or temporary)
        began = time.monotonic()
        size = Size(**given)
        results = measure(size, seeds, folder)
    text = text_of(results)
    print(text)
    minutes = (time.monotonic() - began) / 60
    gain, half = interval(gains(results, ARMS["rationalize"]))
    print(f"gain {100 * gain:.1f} ± {100 * half:.1f} points in {minutes:.0f} min")
    if seeds != SEEDS or size != Size():
        return 0  # a pilot
    text += f"\nMeans over {len(seeds)} seeds with 95% intervals; {minutes:.0f} minutes.\n"
    harness.put_into(harness.RESULTS_PAGE, "star", text + harness.conditions())
    return harness.finish(
        "star",
        f"{100 * gain:+.1f} ± {100 * half:.1f} points of accuracy in {size.rounds} rounds",
        "above 0",
        gain - half > 0,
        {"size": dataclasses.asdict(size), "seeds": list(results), "minutes": minutes},
    )


if __name__ == "__main__":
    sys.exit(main())
