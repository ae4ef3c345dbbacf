"""`make bench-train`: training speed compared with transformers, in tokens per second.

JAX trains on packed rows. transformers' Trainer, which the paper's authors use, has one text per
row, padded to the longest of the batch; padding does not count as tokens. Batches of both have
about the same number of tokens. The second workload has full rows, which are the same for both.
Both start from the same weights and use float32, AdamW and clipping.

The systems run alternately in child processes, since a laptop's memory does not hold both. Their
losses must agree for as long as they were trained on the same texts. On a machine with a GPU,
`train_gpu.py` runs instead.
"""

import dataclasses
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness, train_batches, train_gpu, trainers
from benchmarks.trainers import Case, WorkloadResult
from teacherlm_jax.models import registry

CORES = 2
MODEL = registry.shape("bloom-560m", layers=4, dtype="float32", attention="blockwise")
ROWS, LENGTH = 2, 384  # rows and tokens per row of a batch in JAX
TEXTS = 8  # texts of a batch in transformers, Trainer's default; on average as many tokens
PACKED = 4096  # texts that are packed; the rows for the batches are drawn from them
ROUNDS, STEPS = 4, 2
TOLERANCE = 1e-4  # nats, for losses
# Equal rows come first, so that both are trained on the same texts up to the next workload.
SYSTEMS = {"jax": ("equal", "packed"), "transformers": ("equal", "padded")}
_KEYS = {"jax": "ours", "transformers": "theirs"}  # names in the JSON file

Rounds = Sequence[dict[str, WorkloadResult]]


@dataclasses.dataclass(frozen=True)
class Row:
    """The speeds of both systems on one workload.

    Attributes:
        rows: description of the rows.
        filled: share of the timed batches that is not padding, in JAX and in transformers.
        jax: tokens per second in JAX by round, without padding.
        transformers: the same for transformers.
        goal: smallest ratio of the medians.
    """

    rows: str
    filled: tuple[float, float]
    jax: list[float]
    transformers: list[float]
    goal: float

    @property
    def ratio(self) -> float:
        """Return the median speed in JAX over that in transformers."""
        return statistics.median(self.jax) / statistics.median(self.transformers)

    def figures(self) -> dict[str, object]:
        """Return the row for the JSON file."""
        return {_KEYS.get(key, key): value for key, value in dataclasses.asdict(self).items()}

    def cells(self) -> list[str]:
        """Return the row of the table."""
        spans = [
            f"{statistics.median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})"
            for speeds in (self.jax, self.transformers)
        ]
        filled = ", ".join(f"{share:.0%}" for share in self.filled)
        return [self.rows, filled, *spans, f"{self.ratio:.2f}", f"{self.goal:.1f}"]


def write_case(folder: Path) -> dict[str, float]:
    """Write case, batches and weights to `folder`; return the filled share of the timed batches."""
    texts = train_batches.texts(folder / "vocabulary", LENGTH, MODEL.vocab_size)
    workloads = {
        "equal": train_batches.equal(texts, ROWS, LENGTH),
        "packed": train_batches.packed(texts[:PACKED], ROWS, LENGTH),
        "padded": train_batches.padded(texts, TEXTS),
    }
    same = train_batches.one_per_row(list(train_batches.texts_of(workloads["packed"][0])))
    workloads["padded"].insert(0, same)  # the losses on the texts of this batch are compared
    shares = {}
    for name, batches in workloads.items():
        first, *timed = batches[: 1 + ROUNDS * STEPS]
        trainers.write_batch(folder, f"{name}.check", first)
        for number, batch in enumerate(timed):
            round_number, step = divmod(number, STEPS)
            trainers.write_batch(folder, f"{name}.{round_number}.{step}", batch)
        shares[name] = train_batches.filled(timed)
    Case(MODEL, SYSTEMS).write(folder)
    trainers.run("weights", folder)
    return shares


def run_alternately(folder: Path) -> dict[str, Rounds]:
    """Return the results of each system by round; the system that runs first alternates."""
    rounds: dict[str, list[dict[str, WorkloadResult]]] = {system: [] for system in SYSTEMS}
    for number in range(ROUNDS):
        for system in sorted(SYSTEMS, reverse=bool(number % 2)):
            results = trainers.run(system, folder, number)
            rounds[system].append(results)
            speeds = {name: f"{result.speed:.0f}" for name, result in results.items()}
            print(f"round {number + 1} of {ROUNDS}, {system}: {speeds} tokens/s", flush=True)
    return rounds


def rows(rounds: dict[str, Rounds], shares: dict[str, float]) -> list[Row]:
    """Return the rows of the table."""

    def row(rows: str, in_jax: str, in_transformers: str, goal: float) -> Row:
        speeds = [
            [workloads[name].speed for workloads in rounds[system]]
            for system, name in (("jax", in_jax), ("transformers", in_transformers))
        ]
        return Row(rows, (shares[in_jax], shares[in_transformers]), *speeds, goal)

    return [
        row("packed against padded", "packed", "padded", 1.3),
        row("equal sequences, no padding", "equal", "equal", 1.0),
    ]


def largest_difference(rounds: dict[str, Rounds]) -> float:
    """Return the largest difference of losses that must agree."""
    differences = []
    for jax, transformers in zip(*rounds.values(), strict=True):
        differences.append(abs(jax["packed"].losses[0] - transformers["padded"].losses[0]))
        losses = zip(jax["equal"].losses, transformers["equal"].losses, strict=True)
        differences += [abs(actual - expected) for actual, expected in losses]
    return max(differences)


def on_cpu() -> int:
    """Run the benchmark; print the table and write it to docs/reference/results.md."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # child processes inherit it
    with tempfile.TemporaryDirectory() as folder:
        shares = write_case(Path(folder))
        rounds = run_alternately(Path(folder))
    lines, difference = rows(rounds, shares), largest_difference(rounds)
    header = (
        "data",
        "non-padding tokens",
        "teacherlm_jax, tokens/s",
        "transformers, tokens/s",
        "ratio",
        "goal",
    )
    text = harness.table(header, [line.cells() for line in lines])
    text += f"\nMedian and range of {ROUNDS} rounds; losses differ by at most {difference:.0e}.\n"
    print(text)
    harness.put_into(
        harness.RESULTS_PAGE, "train", text + harness.conditions("torch", "transformers")
    )
    figures = ", ".join(f"{line.rows} {line.ratio:.2f}" for line in lines)
    goals = ", ".join(f"{line.goal:.1f}" for line in lines)
    return harness.finish(
        "train",
        f"{figures} times the tokens/s; losses differ by {difference:.0e}",
        f"{goals}; {TOLERANCE:.0e}",
        difference <= TOLERANCE and all(line.ratio >= line.goal for line in lines),
        {
            "rows": [line.figures() for line in lines],
            "rounds": {
                _KEYS[system]: list(map(_figures, results)) for system, results in rounds.items()
            },
            "apart": difference,
        },
    )


def _figures(workloads: dict[str, WorkloadResult]) -> dict[str, object]:
    return {name: dataclasses.asdict(result) for name, result in workloads.items()}


def main() -> int:
    """Run the benchmark for the GPU if there is one, otherwise the one for the CPU."""
    return train_gpu.main() if trainers.backend() == "gpu" else on_cpu()


if __name__ == "__main__":
    sys.exit(main())
