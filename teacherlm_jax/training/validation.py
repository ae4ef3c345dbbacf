"""Validation during training: measurements, the best step, and early stopping."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import jax
from flax import nnx
from jax.sharding import Mesh

from teacherlm_jax.checkpoints import selection
from teacherlm_jax.config import HELD_OUT, BenchmarkConfig, TrainConfig
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.evaluation import benchmarks, predictions, rank, scoring
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage.growing import append_row
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.training.held_out import HeldOutRows
from teacherlm_jax.training.metrics_log import TRAIN_AGAIN, drop_after
from teacherlm_jax.training.setup import RunSpec


class ValidationStopped(Exception):
    """A signal arrived during a validation, which was abandoned."""


class Validation:
    """The validations of one run, kept in its `validation.jsonl`."""

    def __init__(
        self,
        config: TrainConfig,
        run: Run,
        spec: RunSpec,
        mesh: Mesh,
        held_out: Prepared | None,
    ):
        """Read the benchmarks and open the held-out rows, if any; nothing is computed yet.

        Raises UserError for data that cannot be read.
        """
        self._config, self._log, self._steps = config.validation, run.log, config.steps
        self._spec, self._mesh = spec, mesh
        self._file = run.path / layout.VALIDATION
        # Read by the first process: a process that saw an older file would validate alone.
        self._rows = distributed.of_first(lambda: selection.measurements(run.path))
        self._benchmarks = {
            benchmark.name: self._read(benchmark) for benchmark in self._config.benchmarks
        }
        self._held_out = HeldOutRows(config, held_out, spec, mesh) if held_out else None
        self._scorer: scoring.Scorer | None = None

    def drop_after(self, step: int) -> None:
        """Drop the measurements of later steps, which are repeated."""
        self._rows = [row for row in self._rows if row["step"] <= step]
        if jax.process_index() == 0:
            drop_after(self._file, step)

    def due(self, step: int) -> bool:
        """Return whether the validation of a step is due and not yet done."""
        return self._scheduled(step) and all(row["step"] != step for row in self._rows)

    def _scheduled(self, step: int) -> bool:
        every = self._config.every
        return bool(every) and (step % every == 0 or step == self._steps) and step > 0

    def measure(
        self, step: int, params: Tree, stop_requested: Callable[[], bool]
    ) -> Mapping[str, float]:
        """Validate the model of a step; record and return the metrics by name.

        Raises ValidationStopped, with nothing recorded, if `stop_requested`, called before every
        batch, returns true; UserError if the model gives a score that is NaN.
        """

        def before_batch() -> None:
            if stop_requested():
                raise ValidationStopped

        metrics = dict(self._measured(params, before_batch))
        row = {"step": step, **metrics}
        self._rows.append(row)
        if jax.process_index() == 0:
            append_row(self._file, row)
        values = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        best = "  (best)" if self.ranking()[:1] == [step] else ""
        self._log.info(f"validation at step {step}  {values}{best}")
        return metrics

    def ranking(self) -> list[int]:
        """Return the validated steps, the best by the config's metric first; empty without one."""
        metric = self._config.metric
        return selection.ranking(self._rows, metric) if metric else []

    def value(self, step: int) -> float:
        """Return the config's metric as it was measured at a step."""
        return next(row[self._config.metric] for row in self._rows if row["step"] == step)

    def exhausted(self) -> bool:
        """Return whether the last `config.validation.patience` validations were no better.

        The validation after the last step of a run that was extended since does not count: with
        all steps from the start, it would not have been made.
        """
        patience = self._config.patience
        rows = [row for row in self._rows if self._scheduled(row["step"])]
        if not patience or not rows:
            return False
        best, steps = selection.ranking(rows, self._config.metric)[0], [row["step"] for row in rows]
        return len(steps) - 1 - steps.index(best) >= patience

    def _read(self, config: BenchmarkConfig) -> predictions.EncodedQuestions:
        refused = RefusedRows(None)
        questions = benchmarks.read(config, self._config.root, refused, self._log)
        refused.report(self._log, config.name)
        longest, positions = self._config.max_length, self._spec.model.max_positions
        encoded = predictions.encode(
            questions,
            self._spec.vocabulary,
            reduction=config.reduction,
            tokenization=config.tokenization,
            max_length=longest,
            positions=positions,
            key="config.validation.max_length",
        )
        if encoded.truncated:
            self._log.warning(
                "%s: %d contexts were truncated on the left to %d tokens",
                *(config.name, encoded.truncated, min(longest, positions or longest)),
            )
        return encoded

    def _measured(
        self, params: Tree, before_batch: Callable[[], None]
    ) -> Iterator[tuple[str, float]]:
        if self._benchmarks:
            with self._scoring(params) as scorer:
                for name, encoded in self._benchmarks.items():
                    where = f"this run's model on {name}"
                    predicted = predictions.predict(
                        encoded, scorer, where, TRAIN_AGAIN, before_batch
                    )
                    summary = rank.summarize(predicted)
                    yield f"{name}/accuracy", summary["accuracy"]
                    yield f"{name}/macro_accuracy", summary["macro_accuracy"]
        if self._held_out is not None:
            for name, value in self._held_out.measure(params, before_batch).items():
                yield f"{HELD_OUT}/{name}", value

    @contextlib.contextmanager
    def _scoring(self, params: Tree) -> Iterator[scoring.Scorer]:
        """Open a scorer with these parameters, which it releases: the next step donates them."""
        model = nnx.merge(self._spec.graph, params)
        if self._scorer is None:
            self._scorer = scoring.Scorer(
                model,
                mesh=self._mesh,
                batch_tokens=self._config.batch_tokens,
                pad_id=self._spec.vocabulary.pad_id,
            )
        self._scorer.take(model)
        try:
            yield self._scorer
        finally:
            self._scorer.take(None)
