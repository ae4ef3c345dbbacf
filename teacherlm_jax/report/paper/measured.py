"""Our figures for the cells of the paper's tables, from the runs that stand for them."""

import collections
import dataclasses
import statistics
from collections.abc import Iterator, Sequence

from etils import epath

from teacherlm_jax.checkpoints import selection
from teacherlm_jax.checkpoints.saved_model import BEST
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.report.paper import data_figures, printed
from teacherlm_jax.report.paper.counted import EvaluatedBenchmark, of_benchmarks
from teacherlm_jax.report.paper.standing import Standing
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Our accuracy for one cell.

    Attributes:
        value: in per cent; the mean if several training runs stand for the cell.
        rows: questions.
        runs: names of the evaluations.
        complete: whether the evaluations have all questions of the benchmark in the paper, apart
            from refused rows.
    """

    value: float
    rows: int
    runs: tuple[str, ...]
    complete: bool = True


class Measured:
    """Our figures by the names of the paper's models and datasets.

    Attributes:
        settings: learning rate, batch size and tokens of a training run, by model; of several runs
            that stand for it, the last in the order of the standings, which is that of their paths.
        data: figures of Table 2 by the name of the dataset.
        counted: the evaluations that count.
        left_out: a sentence for each evaluation of a benchmark that does not count.
        trainings: the same training run, by model.
    """

    def __init__(self, standings: Sequence[Standing]):
        """Collect the figures of the runs that stand for something."""
        known = [standing for standing in standings if standing.name]
        evaluated = _evaluated(known)
        self.counted, self.left_out = of_benchmarks(evaluated)
        self._accuracies = _accuracies(self.counted)
        self.settings = {s.name: _settings(s.run) for s in known if s.run.verb == "train"}
        self.trainings = {s.name: s for s in known if s.run.verb == "train"}
        self.data = data_figures.by_dataset(known, evaluated)

    @property
    def trained(self) -> dict[str, epath.Path]:
        """Return the paths of the trained models: the best checkpoint of a run if it has one."""
        return {name: _trained_model(training.run) for name, training in self.trainings.items()}

    def accuracy(self, model: str, format: str, subject: str = "") -> Accuracy | None:
        """Return our accuracy of a model on a benchmark, or on one subject of it; None: none yet.

        `counted` chooses the evaluations; the figure is the mean over training runs.
        """
        return self._accuracies.get((model, format, subject.replace("_", " ")))


def _accuracies(
    counted: Sequence[EvaluatedBenchmark],
) -> dict[tuple[str, str, str], Accuracy]:
    found = collections.defaultdict(list)
    for one in counted:
        for subject, value, rows in _figures_of(one.run, one.name):
            found[one.stands_for, one.format, subject].append((rows, value, one.run.name))
    partial = {(one.stands_for, one.format) for one in counted if not one.complete}
    return {
        key: dataclasses.replace(_combined(values), complete=key[:2] not in partial)
        for key, values in found.items()
    }


def _evaluated(standings: Sequence[Standing]) -> list[EvaluatedBenchmark]:
    """Return the benchmarks of evaluations that may fill cells."""
    return [
        EvaluatedBenchmark(standing.name, standing.training, standing.run, name, format)
        for standing in standings
        if standing.run.verb == "evaluate"
        for name in standing.run.result["benchmarks"]
        if (format := standing.run.benchmark_format(name)) in printed.STUDENT_BENCHMARKS
        and not _few_shot(standing.run, name)
    ]


def _combined(values: Sequence[tuple[int, float, str]]) -> Accuracy:
    most = max(rows for rows, *_ in values)
    chosen = [(value, run) for rows, value, run in values if rows == most]
    mean = statistics.fmean(value for value, _ in chosen)
    return Accuracy(mean, most, tuple(run for _, run in chosen))


def _figures_of(run: RunRecord, name: str) -> Iterator[tuple[str, float, int]]:
    """Yield subject ("" for all), accuracy in per cent and questions of a benchmark."""
    result = run.result["benchmarks"][name]
    macro = printed.is_mean_of_subjects(run.benchmark_format(name))
    yield "", 100 * result["macro_accuracy" if macro else "accuracy"], result["rows"]
    if macro:
        for subject, figures in result["by_subject"].items():
            if {"accuracy", "rows"} <= figures.keys():
                yield subject.replace("_", " "), 100 * figures["accuracy"], figures["rows"]


def other_settings(run: RunRecord) -> Iterator[str]:
    """Yield what in an evaluation differs from the paper's, as sentences without a full stop."""
    for name in run.result["benchmarks"]:
        if run.benchmark_format(name) not in printed.STUDENT_BENCHMARKS:
            continue
        own = run.benchmark_settings(name)
        if _few_shot(run, name):
            yield f"{name} has shots={own['shots']} and fills no cell: the paper is zero-shot"
        for key, usual in _PAPER_SETTINGS.items():
            if own.get(key, usual) != usual:
                yield f"{name} has {key}={own[key]}, where the paper has {usual}"


def _few_shot(run: RunRecord, name: str) -> bool:
    return run.benchmark_settings(name).get("shots", 0) > 0


# Of a BenchmarkConfig; an option text with equation 1 is the paper's, its letter the authors' code.
_PAPER_SETTINGS = {"style": "authors", "reduction": "mean", "tokenization": "separate"}


def _trained_model(run: RunRecord) -> epath.Path:
    """Return the best checkpoint of a training run; its folder if none is known to be the best."""
    if "best_checkpoint" in run.result or files.exists(selection.recorded_at(run.path)):
        return run.path / layout.CHECKPOINTS / BEST
    return run.path


def _settings(run: RunRecord) -> dict[str, float]:
    found = {
        "learning_rate": run.config.get("optimizer", {}).get("learning_rate"),
        "batch_size": run.config.get("batch_size"),
        "tokens": run.result["tokens"],
    }
    return {name: value for name, value in found.items() if value is not None}
