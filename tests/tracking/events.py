"""Reader of TensorBoard event files."""

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def events_of(path: Path) -> list[tuple[int, str, float | str | None]]:
    """Return step, name and value of each event of a file; a start hides the step and later."""
    content, place, found = path.read_bytes(), 0, []
    while place < len(content):
        (size,) = struct.unpack_from("<Q", content, place)
        event = Event()
        event.ParseFromString(content[place + 12 : place + 12 + size])
        place += 12 + size + 4
        if event.HasField("session_log"):
            found.append((event.step, "purge", None))
        for value in event.summary.value:
            texts = value.tensor.string_val
            shown = texts[0].decode() if texts else value.simple_value
            found.append((event.step, value.tag, shown))
    return found
