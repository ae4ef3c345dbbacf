"""The open shards of a process, whose partial files are published at intervals."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.annotation.worker import ClaimedShard
from teacherlm_jax.storage.repeated import Repeated
from teacherlm_jax.storage.temporary import TemporaryFolder

_PUBLISH_SECONDS = 30.0  # between two publications of partial files in a bucket


class OpenShards(dict[int, ClaimedShard]):
    """The shards that a process works on, by number. Remove each when it is finished."""

    @contextlib.contextmanager
    def publishing(self, log: logging.Logger) -> Iterator[Path]:
        """Publish partial files every 30 seconds, and close those that are left at the end.

        Yields a folder in which the partial files of a bucket can grow. A publication that fails is
        logged as a warning and tried again.
        """

        def publish() -> None:
            for shard in list(self.values()):
                shard.publish()

        with contextlib.closing(TemporaryFolder()) as temporary, contextlib.ExitStack() as closing:
            closing.callback(self._close)
            closing.callback(Repeated(_PUBLISH_SECONDS, publish, log.warning).end)
            yield temporary.path

    def _close(self) -> None:
        with contextlib.ExitStack() as closing:
            for shard in self.values():
                closing.callback(shard.close)
            self.clear()
