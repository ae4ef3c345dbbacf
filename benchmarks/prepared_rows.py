"""Prepared folders written directly from rows, without source and statistics."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from teacherlm_jax.data.packing import PackedRow
from teacherlm_jax.data.writer import write_shards
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary


def write_prepared(
    folder: Path,
    rows: Iterable[PackedRow],
    vocabulary: Vocabulary,
    *,
    length: int,
    rows_per_shard: int,
    author: str = "",
    **manifest: Any,
) -> None:
    """Write rows of `length` tokens as `prepare` does; `manifest` overrides its entries."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = write_shards(folder, rows, rows_per_shard)
    vocabulary.save(folder / layout.VOCABULARY)
    entries = {
        "mixture": folder.name,
        "inputs": {
            "mixture": {"author": author},
            "vocabulary": {"digest": vocabulary.digest},
            "max_tokens": length,
        },
        "tasks": {},
        "drops": {},
        "length": length,
        "rows": sum(shard["records"] for shard in shards),
        "shards": shards,
    }
    files.write_json(folder / layout.MANIFEST, entries | manifest)
