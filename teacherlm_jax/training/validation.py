"""Measuring a model while it trains, choosing among its checkpoints, and when to stop."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import selection
from teacherlm_jax.config import HELD_OUT, BenchmarkConfig, TrainConfig, ValidationConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks, predictions, rank, scoring, tokenized
from teacherlm_jax.evaluation.question import Question
from teacherlm_jax.models import registry
from teacherlm_jax.runs import distributed, layout
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.sharding import Tree
from teacherlm_jax.storage.growing import append_row
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.training.loss import next_token_loss
from teacherlm_jax.training.progress import drop_after
from teacherlm_jax.training.setup import Plan


class Stopped(Exception):
    """A signal came in the middle of a measurement, which is given up."""


class Validation:
    """The measurements of one run."""

    def __init__(self, config: TrainConfig, run: Run, plan: Plan, mesh: Mesh):
        """Reads the questions and opens the held-out rows; nothing is computed yet.

        Raises UserError for data that cannot be read or are of another vocabulary.
        """
        self._config, self._log, self._steps = config.validation, run.log, config.steps
        self._graph, self._mesh = plan.graph, mesh
        self._pad_id = plan.vocabulary.pad_id
        self._file = run.path / layout.VALIDATION
        # Of the first process: one that saw an older file would measure when the others do not.
        self._rows = distributed.of_first(lambda: selection.measurements(run.path))
        self._questions = {each.name: self._read(each, plan) for each in self._config.benchmarks}
        self._held_out = None
        if self._config.data:
            # As many at a time as training has in memory.
            rows = config.batch_size // config.accumulate
            self._held_out = _HeldOut(self._config, plan, mesh, rows)
        self._scorer: scoring.Scorer | None = None
        self._loss = jax.jit(
            lambda params, batch: next_token_loss(
                nnx.merge(plan.graph, params), batch, config.loss_block
            )[1],
            out_shardings=sharding.replicated(mesh),
        )

    def go_on_from(self, step: int) -> None:
        """Drops the measurements of later steps, which will come again."""
        self._rows = [row for row in self._rows if row["step"] <= step]
        if jax.process_index() == 0:
            drop_after(self._file, step)

    def due(self, step: int) -> bool:
        """Whether the model of a step is to be measured, and has not been."""
        every = self._config.every
        wanted = bool(every) and (step % every == 0 or step == self._steps) and step > 0
        return wanted and all(row["step"] != step for row in self._rows)

    def measure(self, step: int, params: Tree, stop: Callable[[], bool]) -> Mapping[str, float]:
        """Measures the model of a step, and writes down and gives what came out.

        Raises Stopped when `stop`, asked between batches, says so; nothing is written then.
        """
        found = dict(self._measured(params, stop))
        row = {"step": step, **found}
        self._rows.append(row)
        if jax.process_index() == 0:
            append_row(self._file, row)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
        best = "  (best)" if self.ranking()[:1] == [step] else ""
        self._log.info(f"validation at step {step}  {shown}{best}")
        return found

    def ranking(self) -> list[int]:
        """Steps of the measurements, the best by the config's metric first; none without one."""
        metric = self._config.metric
        return selection.ranking(self._rows, metric) if metric else []

    def value(self, step: int) -> float:
        """The config's metric as measured at a step."""
        return next(row[self._config.metric] for row in self._rows if row["step"] == step)

    def exhausted(self) -> bool:
        """Whether the metric has not improved for as long as the config's patience."""
        patience = self._config.patience
        if not patience or not self._rows:
            return False
        steps = [row["step"] for row in self._rows]
        return len(steps) - 1 - steps.index(self.ranking()[0]) >= patience

    def _read(self, config: BenchmarkConfig, plan: Plan) -> "_Set":
        refused = RefusedRows(None)
        questions = benchmarks.read(config, self._config.root, refused)
        refused.report(self._log, config.name)
        longest = self._config.max_length
        longest = min(longest, plan.model.max_positions or longest)
        encoded, truncated = tokenized.tokenize(questions, plan.vocabulary, longest)
        if truncated:
            self._log.warning(
                "%s: %d contexts were truncated on the left to max_length", config.name, truncated
            )
        return questions, encoded

    def _measured(self, params: Tree, stop: Callable[[], bool]) -> Iterator[tuple[str, float]]:
        with self._scoring(params) as scorer:
            for name, (questions, encoded) in self._questions.items():
                assert scorer is not None  # there are questions
                scores = scorer.score(encoded, before_batch=lambda: _refuse(stop))
                predictions.refuse_nan(
                    f"this run's model on {name}",
                    questions,
                    scores,
                    "in another config.output, start from an earlier checkpoint, with a lower "
                    "config.optimizer.learning_rate",
                )
                summary = rank.summarize(predictions.predictions(questions, scores))
                yield f"{name}/accuracy", summary["accuracy"]
                yield f"{name}/macro_accuracy", summary["macro_accuracy"]
        if self._held_out is not None:
            yield from self._held_out_loss(params, stop)

    @contextlib.contextmanager
    def _scoring(self, params: Tree) -> Iterator[scoring.Scorer | None]:
        """The scorer with these parameters, which it lets go of: the next step uses them up."""
        if not self._questions:
            yield None
            return
        model = nnx.merge(self._graph, params)
        if self._scorer is None:
            tokens, pad_id = self._config.batch_tokens, self._pad_id
            self._scorer = scoring.Scorer(
                model, mesh=self._mesh, batch_tokens=tokens, pad_id=pad_id
            )
        self._scorer.take(model)
        try:
            yield self._scorer
        finally:
            self._scorer.take(None)

    def _held_out_loss(self, params: Tree, stop: Callable[[], bool]) -> Iterator[tuple[str, float]]:
        assert self._held_out is not None
        sums = []
        for batch in self._held_out.batches():
            _refuse(stop)
            sums.append(jax.device_get(self._loss(params, batch)))
        total = {key: math.fsum(float(each[key]) for each in sums) for key in _SUMMED}
        if not math.isfinite(total["loss"]):
            raise UserError(
                f"config.validation.data={self._config.data}: this run's model has the loss "
                f"{total['loss']} on these rows, and one that is no number cannot be compared; the "
                "parameters are damaged or overflow: in another config.output, start from an "
                "earlier checkpoint, with a lower config.optimizer.learning_rate"
            )
        counted = max(total["loss_tokens"], 1.0)
        yield f"{HELD_OUT}/loss", total["loss"] / counted
        yield f"{HELD_OUT}/accuracy", total["correct"] / counted


_Set = tuple[list[Question], list[tokenized.TokenizedQuestion]]
_SUMMED = ("loss", "correct", "loss_tokens")


class _HeldOut:
    """The rows of a prepared folder in batches, each row once."""

    def __init__(self, config: ValidationConfig, plan: Plan, mesh: Mesh, batch_size: int):
        self._mesh, self._size = mesh, batch_size
        self._index, self._count = sharding.process_rows(mesh, batch_size)
        data = prepared.open(config.data)
        self._reader = data.reader(batch_size=batch_size)
        found, wanted = data.vocabulary.digest, plan.vocabulary.digest
        if found != wanted:
            raise UserError(
                f"config.validation.data={config.data}: was prepared with the vocabulary {found}, "
                f"config.data with {wanted}; prepare both with one"
            )
        what = f"config.validation.data={config.data}: was prepared with texts of up to"
        registry.refuse_longer(plan.model, data.max_tokens, what)
        self._rows = min(config.rows or self._reader.rows, self._reader.rows)

    def batches(self) -> Iterator[dict[str, jax.Array]]:
        """Yields batches on the mesh; the last one is filled up with rows of padding alone."""
        share = self._size // self._count
        for start in range(0, self._rows, self._size):
            first = start + self._index * share
            rows = [self._reader.row(min(n, self._rows - 1)) for n in range(first, first + share)]
            there = np.arange(first, first + share) < self._rows
            yield {
                name: self._placed(np.stack([getattr(row, name) for row in rows]), there)
                for name in ("tokens", "segment_ids", "positions", "loss_mask")
            }

    def _placed(self, rows: np.ndarray, there: np.ndarray) -> jax.Array:
        rows = np.where(there[:, None], rows, np.zeros((), rows.dtype))
        where = sharding.batch_sharding(self._mesh)
        return jax.make_array_from_process_local_data(where, rows, (self._size, rows.shape[1]))


def _refuse(stop: Callable[[], bool]) -> None:
    if stop():
        raise Stopped
