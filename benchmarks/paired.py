"""`make bench-paired`: how often paired comparisons tell equally good models apart, and their time.

Models are simulated whose trainings are equally good. They differ in the accuracies of their seeds,
in the questions that they find easy, or by chance in each answer. At the 5% level, no more than
about 5% of such pairs may be told apart.
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from benchmarks import harness
from teacherlm_jax.evaluation import paired

TRIALS, DRAWS, QUESTIONS = 2000, 1000, 300
SEEDS = ((2, 1), (3, 1), (5, 1), (2, 2), (3, 3), (5, 5), (5, 2))
MODELS, MMLU, SUBJECTS = 20, 14_042, 57
GOAL, SECONDS = 0.07, 60  # error rate (estimated to 0.5%), time of MODELS

_Answers = Float64[np.ndarray, "seeds questions"]


@dataclasses.dataclass(frozen=True)
class Noise:
    """One kind of chance.

    Attributes:
        name: what differs.
        seeds: standard deviation of the accuracies of seeds.
        preference: standard deviation of the accuracy of a model on single questions, beyond that
            of their difficulty.
        own_answers: whether each seed answers by chance; otherwise all seeds answer alike.
        ratio: how much more the seeds of the second model differ.
    """

    name: str
    seeds: float
    preference: float
    own_answers: bool
    ratio: float = 1.0


NOISES = (
    Noise("seeds and answers", 0.08, 0.0, own_answers=True),
    Noise("questions", 0.0, 0.3, own_answers=False),
    Noise("answers", 0.0, 0.0, own_answers=True),
    Noise("all three", 0.04, 0.15, own_answers=True),
)
UNEQUAL = Noise("unequal seeds", 0.02, 0.0, own_answers=True, ratio=4.0)


def simulated(
    seed: int, noise: Noise, seeds: tuple[int, int], advantage: float = 0.0
) -> tuple[_Answers, _Answers]:
    """Return the answers of two models, of which the first has `advantage` more accuracy."""
    rng, questions = np.random.default_rng(seed), QUESTIONS
    difficulty = rng.uniform(-0.2, 0.2, questions)
    tables = []
    models = zip(
        seeds, (0.6 + advantage, 0.6), (noise.seeds, noise.seeds * noise.ratio), strict=True
    )
    for number, level, spread in models:
        preference = noise.preference * rng.uniform(-1, 1, questions) * 3**0.5
        chances = level + difficulty + preference + rng.normal(0, spread, (number, 1))
        drawn = rng.random((number if noise.own_answers else 1, questions))
        tables.append((drawn < chances).astype(float))
    return tables[0], tables[1]


def error_rate(
    noise: Noise, seeds: tuple[int, int], trials: int = TRIALS, draws: int = DRAWS
) -> float:
    """Return the share of equally good models whose interval does not contain 0."""
    errors = 0
    for trial in range(trials):
        low, high = paired.bootstrap_interval(*simulated(trial, noise, seeds), draws=draws)
        errors += not low <= 0 <= high
    return errors / trials


def seconds(models: int, strata: int = SUBJECTS) -> float:
    """Return the time to compare all pairs of as many models on MMLU."""
    rng = np.random.default_rng(0)
    difficulty = rng.uniform(-0.3, 0.3, MMLU)
    tables = [rng.random((1, MMLU)) < 0.4 + 0.002 * model + difficulty for model in range(models)]
    subjects = [number % strata for number in range(MMLU)]
    start = time.perf_counter()
    paired.compare_pairs(tables, list(itertools.combinations(range(models), 2)), subjects)
    return time.perf_counter() - start


def _rows(rates: dict[tuple[str, tuple[int, int]], float]) -> Iterator[list[str]]:
    for seeds in SEEDS:
        yield [
            f"{seeds[0]} and {seeds[1]}",
            *(f"{rates[n.name, seeds]:.1%}" for n in (*NOISES, UNEQUAL)),
        ]


def main() -> int:
    """Measure, and return the exit status."""
    rates = {(n.name, seeds): error_rate(n, seeds) for n in (*NOISES, UNEQUAL) for seeds in SEEDS}
    spent = seconds(MODELS)
    text = harness.table(
        ("number of seeds", *(noise.name for noise in (*NOISES, UNEQUAL))), list(_rows(rates))
    )
    print(text)
    page = harness.DOCS / "how-to" / "compare.md"
    harness.put_into(page, "paired", text + harness.conditions())
    highest = max(rate for (name, _), rate in rates.items() if name != UNEQUAL.name)
    return harness.finish(
        "paired",
        f"at most {highest:.1%} of equally good models told apart, {MODELS} models on MMLU "
        f"compared in {spent:.1f} s",
        f"at most {GOAL:.0%} and {SECONDS} s",
        highest <= GOAL and spent <= SECONDS,
        {
            "rates": [{"noise": n, "seeds": s, "rate": rate} for (n, s), rate in rates.items()],
            "seconds": spent,
            "trials": TRIALS,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
