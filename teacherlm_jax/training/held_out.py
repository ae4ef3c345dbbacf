"""Loss of a model on the held-out rows of a prepared folder, each row counted once."""

import math
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Shaped

from teacherlm_jax import sharding
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.data import prepared
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.errors import UserError
from teacherlm_jax.sharding import Tree
from teacherlm_jax.training import fed_rows
from teacherlm_jax.training.loss import next_token_loss
from teacherlm_jax.training.loss_tokens import refuse_without_loss
from teacherlm_jax.training.metrics_log import TRAIN_AGAIN
from teacherlm_jax.training.setup import RunSpec, refuse_longer_texts

_SUMMED = ("loss", "correct", "loss_tokens")
_FIELDS = ("tokens", "segment_ids", "positions", "loss_mask")


def open_data(config: TrainConfig, spec: RunSpec) -> Prepared | None:
    """Open `config.validation.data`, or return None without it; no rows are read or copied yet.

    Raises UserError if the rows were made with another vocabulary or for a longer model.
    """
    if not config.validation.data:
        return None
    data, key = prepared.open(config.validation.data), _key(config)
    if data.vocabulary.digest != spec.vocabulary.digest:
        raise UserError(
            f"{key}: was prepared with the vocabulary {data.vocabulary.digest}, but "
            f"config.data with {spec.vocabulary.digest}; prepare both with the same one"
        )
    refuse_longer_texts(spec.model, data, key)
    return data


def _key(config: TrainConfig) -> str:
    return f"config.validation.data={config.validation.data}"


class HeldOutRows:
    """The rows of `config.validation.data`, in batches of fixed size."""

    def __init__(self, config: TrainConfig, data: Prepared, spec: RunSpec, mesh: Mesh):
        """Open the rows of `data`, which is that of `open_data`; nothing is computed yet.

        A batch has as many rows as training has in memory at the same time.

        Raises UserError for rows that cannot be read, or have no trained token.
        """
        self._key = _key(config)
        self._mesh, self._size = mesh, config.batch_size // config.accumulate
        self._index, self._count = fed_rows.process_rows(mesh, self._size)
        self._reader = data.reader(batch_size=self._size)
        self._rows = min(config.validation.rows or self._reader.rows, self._reader.rows)
        refuse_without_loss(self._reader, self._rows, self._key)

        def sums(
            params: Tree, batch: Mapping[str, Shaped[Array, "B T"]]
        ) -> Mapping[str, Shaped[Array, "..."]]:
            return next_token_loss(nnx.merge(spec.graph, params), batch, config.loss_block)[1]

        self._loss = jax.jit(sums, out_shardings=sharding.replicated(mesh))

    def measure(self, params: Tree, before_batch: Callable[[], None]) -> Mapping[str, float]:
        """Return `loss` (nats) and `accuracy`, means over the trained tokens.

        `before_batch` is called before every batch; an exception ends the measurement. Raises
        UserError if the loss is NaN or infinite.
        """
        sums = []
        for batch in self._batches():
            before_batch()
            sums.append(jax.device_get(self._loss(params, batch)))
        total = {key: math.fsum(float(batch[key]) for batch in sums) for key in _SUMMED}
        if not math.isfinite(total["loss"]):
            raise UserError(
                f"{self._key}: the loss of this run's model on these rows is {total['loss']}, so "
                f"its parameters are corrupted or overflow; {TRAIN_AGAIN}"
            )
        count = total["loss_tokens"]  # at least one, or __init__ would have refused the rows
        return {"loss": total["loss"] / count, "accuracy": total["correct"] / count}

    def _batches(self) -> Iterator[dict[str, Shaped[Array, "B T"]]]:
        """Yield batches on the mesh; the last one is padded with empty rows."""
        share = self._size // self._count
        for start in range(0, self._rows, self._size):
            first = start + self._index * share
            numbers = np.arange(first, first + share)
            rows = [self._reader.row(min(int(n), self._rows - 1)) for n in numbers]
            yield {
                name: self._placed(
                    np.stack([getattr(row, name) for row in rows]), numbers < self._rows
                )
                for name in _FIELDS
            }

    def _placed(
        self, rows: Shaped[np.ndarray, "R T"], is_row: Bool[np.ndarray, " R"]
    ) -> Shaped[Array, "B T"]:
        rows = np.where(is_row[:, None], rows, np.zeros((), rows.dtype))
        placement = sharding.batch_sharding(self._mesh)
        return jax.make_array_from_process_local_data(placement, rows, (self._size, rows.shape[1]))
