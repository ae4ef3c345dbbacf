"""Reader of the files that wandb writes on this machine: `wandb/*run-*-ID/run-ID.wandb`.

Such a file has a header of 7 bytes and records of protobuf in the blocks of LevelDB's logs. wandb
writes records every 15 seconds, so the file of a killed process lacks its last ones.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER = 7  # bytes of a file, and of a part of a record
_BLOCK = 32768  # bytes
_FULL, _FIRST, _LAST = 1, 2, 4  # types of parts of records


def newest_step(folder: Path, run_id: str, *, offline: bool = False) -> int | None:
    """Return the newest step that files of a run hold, -1 for none; None if there are no files.

    Args:
        folder: the folder that has the folder `wandb`.
        run_id: id of the run.
        offline: whether only files of processes count that were offline.
    """
    kind = "offline-run" if offline else "*run"
    paths = list(folder.glob(f"wandb/{kind}-*-{run_id}/run-{run_id}.wandb"))
    steps = [step for path in paths for step, _ in history(path)]
    return max(steps, default=-1) if paths else None


def history(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the step and the values of every row that a file holds."""
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
            yield row["_step"], row


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file, `Record`s of wandb's protobuf, up to an incomplete one."""
    from wandb.proto import wandb_internal_pb2 as protobuf  # it has no types

    content, place, parts = path.read_bytes(), _HEADER, b""
    while place + _HEADER <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:  # the end of a block is empty
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)
        place += _HEADER
        if kind == 0 or place + size > len(content):
            return
        part = content[place : place + size]
        parts = part if kind in (_FULL, _FIRST) else parts + part
        place += size
        if kind in (_FULL, _LAST):
            record = vars(protobuf)["Record"]()
            record.ParseFromString(parts)
            yield record
