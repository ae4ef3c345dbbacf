"""The evaluations that count for the paper's tables: one per training run and benchmark.

Checkpoints of one training run are no repetitions of an experiment, so they are not averaged.
"""

import collections
import dataclasses
from collections.abc import Sequence

from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.lineage import place_in_run
from teacherlm_jax.report.paper import paper_cells


@dataclasses.dataclass(frozen=True)
class EvaluatedBenchmark:
    """One benchmark of an evaluation.

    Attributes:
        stands_for: model of the paper.
        training: what identifies the training of the model: see `Standing.training`.
        run: the evaluation.
        name: name of the benchmark in the evaluation.
        format: its format.
    """

    stands_for: str
    training: str
    run: RunRecord
    name: str
    format: str

    @property
    def rows(self) -> int:
        """Return the number of questions."""
        return self.run.result["benchmarks"][self.name]["rows"]

    @property
    def complete(self) -> bool:
        """Return whether it has all questions of the paper, apart from refused rows."""
        whole = paper_cells.questions(self.format)
        if self.run.benchmark_settings(self.name).get("limit", 0):
            return self.rows >= whole
        return self.rows + self.run.result["benchmarks"][self.name].get("refused", 0) >= whole

    @property
    def preference(self) -> tuple[int, int, int]:
        """Return a sort key, highest for the evaluation that counts of a training run.

        Most questions come first, then the best checkpoint, the run folder, and the last step.
        """
        place = place_in_run(self.run.result["model"])
        if place == ".":
            return self.rows, 1, 0
        step = place.rpartition("/")[2]
        return (self.rows, 0, int(step)) if step.isdigit() else (self.rows, 2, 0)


def of_benchmarks(
    found: Sequence[EvaluatedBenchmark],
) -> tuple[list[EvaluatedBenchmark], list[str]]:
    """Return the evaluations that count, and a sentence for each that is left out.

    Of several training runs that stand for one model, those with the most questions count. Of
    equal evaluations of one training run, the first counts.
    """
    by_cell = collections.defaultdict(list)
    for one in found:
        by_cell[one.stands_for, one.format].append(one)
    counted: list[EvaluatedBenchmark] = []
    left_out: list[str] = []
    for group in by_cell.values():
        by_training = collections.defaultdict(list)
        for one in group:
            by_training[one.training].append(one)
        chosen = [max(same, key=lambda one: one.preference) for same in by_training.values()]
        for kept, same in zip(chosen, by_training.values(), strict=True):
            reason = f"{kept.run.name} counts for the same training run"
            left_out += [_sentence(one, reason) for one in same if one is not kept]
        most = max(one.rows for one in chosen)
        counted += [one for one in chosen if one.rows == most]
        reason = f"another training run has {most:,} questions"
        left_out += [_sentence(one, reason) for one in chosen if one.rows < most]
    return counted, left_out


def _sentence(one: EvaluatedBenchmark, reason: str) -> str:
    model = one.run.result["model"]
    return f"{one.run.name}: {one.name} of {model} ({one.rows:,} questions) is left out: {reason}"
