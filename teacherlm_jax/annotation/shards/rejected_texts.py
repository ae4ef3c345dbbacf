"""Texts that failed a gate and were generated again, kept in `rejected/KIND/`.

While a shard is not complete, they are in the row of the explanation that replaced them, so that
one line has all attempts. They get a file of their own when the shard is complete.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.annotation.explain import GeneratedExplanation
from teacherlm_jax.annotation.shards.shards import Row
from teacherlm_jax.storage import files

ATTEMPT = "attempt"  # key of a row whose text may be generated again
_KEY = "rejected"  # of a row


def attempt_fields(explanation: GeneratedExplanation) -> dict[str, Any]:
    """Return the extra fields of a row in jobs with several attempts."""
    if not explanation.rejected:
        return {ATTEMPT: explanation.attempt}
    earlier = [
        {
            "text": one.text,
            "new_tokens": one.new_tokens,
            "finish_reason": one.finish_reason,
            "gates": one.gates,
            ATTEMPT: one.attempt,
        }
        for one in explanation.rejected
    ]
    return {ATTEMPT: explanation.attempt, _KEY: earlier}


def keep_aside(path: epath.Path, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a shard without rejected texts, which are written to a file first.

    The file has a row for each of them, like that of an explanation. If a
    complete file was damaged later, its rows lack them and keep those of the existing file.
    """
    kept, rejected = divided(rows, _by_id(path))
    if rejected:
        files.update_jsonl(path, rejected)
    return kept


def divided(
    rows: Iterable[Row], before: dict[str, list[dict[str, Any]]]
) -> tuple[list[Row], list[Row]]:
    """Return rows without rejected texts, and rows of these texts.

    `before` has rows of rejected texts by id, for rows that have none of their own.
    """
    kept, rejected = list[Row](), list[Row]()
    for row in rows:
        own = {key: value for key, value in row.items() if key != _KEY}
        kept.append(own)
        if _KEY in row:
            rejected += ({**own, **earlier} for earlier in row[_KEY])
        else:
            rejected += before.get(row["id"], ())
    return kept, rejected


def read(path: epath.Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of rejected texts, without damaged ones; none if it is missing."""
    if files.exists(path):
        for _, row in files.read_jsonl(path):
            if not isinstance(row, files.MalformedRow) and isinstance(row.get("id"), str):
                yield row


def _by_id(path: epath.Path) -> dict[str, list[dict[str, Any]]]:
    rows = defaultdict[str, list[dict[str, Any]]](list)
    for row in read(path):
        rows[row["id"]].append(row)
    return rows
