"""Number of trained tokens, and the refusal of packed rows that have none."""

import numpy as np

from teacherlm_jax.data.packing import PackedRow
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.errors import UserError


def count(row: PackedRow) -> int:
    """Return the number of trained tokens of a packed row, as `loss.next_tokens` counts them.

    The first token of a text is never trained, because no token of its text precedes it.
    """
    segments = row.segment_ids
    same_text = (segments[1:] == segments[:-1]) & (segments[1:] > 0)
    return int(np.count_nonzero(row.loss_mask[1:] & same_text))


def refuse_without_loss(reader: RowReader, rows: int, key: str) -> None:
    """Raise UserError if the first `rows` packed rows have no trained token.

    Rows are read until one has a trained token, usually the first. `key` names them in the
    message, such as `config.data=FOLDER`.
    """
    if any(count(reader.row(number)) for number in range(rows)):
        return
    raise UserError(
        f"{key}: the loss mask of all {rows:,} packed rows is empty, so there is nothing to "
        "learn or measure; prepare the data again with a larger length, or another loss or "
        "too_long setting"
    )
