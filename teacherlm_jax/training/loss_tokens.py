"""Which tokens bear loss, and the refusal of rows in which none does."""

import numpy as np

from teacherlm_jax.data.packing import PackedRow
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.errors import UserError


def count(row: PackedRow) -> int:
    """Return how many tokens of a row bear loss, as `loss.next_tokens` counts them.

    The first token of a text never does, because no token of its text precedes it.
    """
    segments = row.segment_ids
    same_text = (segments[1:] == segments[:-1]) & (segments[1:] > 0)
    return int(np.count_nonzero(row.loss_mask[1:] & same_text))


def refuse_without_loss(reader: RowReader, rows: int, key: str) -> None:
    """Raise UserError if no token of the first `rows` rows bears loss.

    Rows are read until one has a token with loss, usually the first. `key` names them in the
    message, such as `config.data=FOLDER`.
    """
    if any(count(reader.row(number)) for number in range(rows)):
        return
    raise UserError(
        f"{key}: no token of its {rows:,} rows bears loss, so there is nothing to learn or "
        "measure; prepare the data again with a larger length, or another loss or too_long setting"
    )
