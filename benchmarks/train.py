"""Training side by side with transformers: useful tokens a second, padding not counted.

Ours packs texts into rows; the authors' recipe, transformers' Trainer, has one text a row, padded
to the longest of its batch. Both see about as many tokens between two updates. A second workload
has nothing to pad: the same full rows for both. Weights are the same, and so is the maths: float32,
AdamW, clipping.

Each system runs in a child process of its own, and they take turns: both at once would not fit
into a laptop's memory. The loss that a child finds before an update must be what the other finds
wherever both were trained on the same texts until then. On a machine with a GPU the benchmark is
that of `train_gpu.py` instead.
"""

import dataclasses
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import harness, train_batches, train_gpu, trainers
from benchmarks.trainers import Case, Found
from teacherlm_jax.models import registry

CORES = 2
MODEL = registry.shape("bloom-560m", layers=4, dtype="float32", attention="blockwise")
ROWS, LENGTH = 2, 384  # of a batch of ours
TEXTS = 8  # of a batch of theirs, Trainer's own default: as many tokens as ours, on average
PACKED = 4096  # texts, of which so many rows come that those measured are drawn at random
ROUNDS, STEPS = 4, 2
APART = 1e-4  # nats, of losses
# Equal rows come first, so that until the others' first batch both were trained on the same.
SYSTEMS = {"ours": ("equal", "packed"), "theirs": ("equal", "padded")}

Rounds = Sequence[dict[str, Found]]


@dataclasses.dataclass(frozen=True)
class Row:
    """What a workload came to.

    Attributes:
        rows: of what kind.
        filled: the shares of ours and of theirs that are not padding, of the batches timed.
        ours, theirs: useful tokens a second, by round.
        goal: of the ratio of their medians.
    """

    rows: str
    filled: tuple[float, float]
    ours: list[float]
    theirs: list[float]
    goal: float

    @property
    def ratio(self) -> float:
        """How many times theirs ours is."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    def cells(self) -> list[str]:
        """A line of the table."""
        spans = [
            f"{statistics.median(each):.0f} ({min(each):.0f} to {max(each):.0f})"
            for each in (self.ours, self.theirs)
        ]
        filled = ", ".join(f"{share:.0%}" for share in self.filled)
        return [self.rows, filled, *spans, f"{self.ratio:.2f}", f"{self.goal:.1f}"]


def write_case(folder: Path) -> dict[str, float]:
    """Puts case, batches and weights into `folder`; the filled shares of the batches timed."""
    texts = train_batches.texts(folder / "vocabulary", LENGTH, MODEL.vocab_size)
    made = {
        "equal": train_batches.equal(texts, ROWS, LENGTH),
        "packed": train_batches.packed(texts[:PACKED], ROWS, LENGTH),
        "padded": train_batches.padded(texts, TEXTS),
    }
    same = train_batches.one_a_row(list(train_batches.texts_of(made["packed"][0])))
    made["padded"].insert(0, same)  # checked on the texts of one packed batch
    shares = {}
    for name, batches in made.items():
        first, *timed = batches[: 1 + ROUNDS * STEPS]
        trainers.write_batch(folder, f"{name}.check", first)
        for number, batch in enumerate(timed):
            turn, step = divmod(number, STEPS)
            trainers.write_batch(folder, f"{name}.{turn}.{step}", batch)
        shares[name] = train_batches.filled(timed)
    Case(MODEL, SYSTEMS).write(folder)
    trainers.run("weights", folder)
    return shares


def take_turns(folder: Path) -> dict[str, Rounds]:
    """What each system found, round by round; which goes first changes."""
    found: dict[str, list[dict[str, Found]]] = {system: [] for system in SYSTEMS}
    for turn in range(ROUNDS):
        for system in sorted(SYSTEMS, reverse=bool(turn % 2)):
            found[system].append(trainers.run(system, folder, turn))
            speeds = {name: f"{of.speed:.0f}" for name, of in found[system][-1].items()}
            print(f"round {turn + 1} of {ROUNDS}, {system}: {speeds} tokens/s", flush=True)
    return found


def rows(found: dict[str, Rounds], shares: dict[str, float]) -> list[Row]:
    """The table."""

    def row(rows: str, ours: str, theirs: str, goal: float) -> Row:
        speeds = [
            [workloads[name].speed for workloads in found[system]]
            for system, name in (("ours", ours), ("theirs", theirs))
        ]
        return Row(rows, (shares[ours], shares[theirs]), *speeds, goal)

    return [
        row("packed against padded", "packed", "padded", 1.3),
        row("equal sequences, no padding", "equal", "equal", 1.0),
    ]


def farthest(found: dict[str, Rounds]) -> float:
    """The largest difference of losses that must be the same."""
    differences = []
    for ours, theirs in zip(*found.values(), strict=True):
        differences.append(abs(ours["packed"].losses[0] - theirs["padded"].losses[0]))
        losses = zip(ours["equal"].losses, theirs["equal"].losses, strict=True)
        differences += [abs(one - other) for one, other in losses]
    return max(differences)


def on_cpu() -> int:
    """Measures, prints, and puts the table into docs/reference/results.md."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # the children inherit it
    with tempfile.TemporaryDirectory() as folder:
        shares = write_case(Path(folder))
        found = take_turns(Path(folder))
    lines, apart = rows(found, shares), farthest(found)
    header = (
        "data",
        "non-padding tokens",
        "teacherlm_jax, tokens/s",
        "transformers, tokens/s",
        "ratio",
        "goal",
    )
    text = harness.table(header, [line.cells() for line in lines])
    text += f"\nMedians of {ROUNDS} rounds and their span; losses at most {apart:.0e} apart.\n"
    print(text)
    harness.put_into(
        harness.RESULTS_PAGE, "train", text + harness.conditions("torch", "transformers")
    )
    figures = ", ".join(f"{line.rows} {line.ratio:.2f}" for line in lines)
    goals = ", ".join(f"{line.goal:.1f}" for line in lines)
    return harness.finish(
        "train",
        f"{figures} times the tokens/s; losses {apart:.0e} apart",
        f"{goals}; {APART:.0e}",
        apart <= APART and all(line.ratio >= line.goal for line in lines),
        {
            "rows": [dataclasses.asdict(line) for line in lines],
            "rounds": {system: list(map(_figures, each)) for system, each in found.items()},
            "apart": apart,
        },
    )


def _figures(workloads: dict[str, Found]) -> dict[str, object]:
    return {name: dataclasses.asdict(of) for name, of in workloads.items()}


def main() -> int:
    """The benchmark that fits the machine."""
    return train_gpu.main() if trainers.backend() == "gpu" else on_cpu()


if __name__ == "__main__":
    sys.exit(main())
