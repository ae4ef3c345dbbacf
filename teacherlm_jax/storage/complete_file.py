"""A file that is complete and on the disk before it gets its name."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.storage.disk_errors import naming


@contextlib.contextmanager
def complete_beside(path: Path, content: bytes) -> Iterator[str]:
    """Yield the name of a file with this content in the folder of `path`, which is created.

    The file is removed at the end of the block unless it was renamed. An OSError, such as that of a
    full disk, carries the name of `path`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
