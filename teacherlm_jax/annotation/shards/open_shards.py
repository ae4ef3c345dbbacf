"""The open shards of a process, whose partial files are published at intervals."""

import contextlib
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path

from teacherlm_jax.annotation.worker import ClaimedShard
from teacherlm_jax.config.names import BUCKET
from teacherlm_jax.errors import ExplainedError, StoreError, call_all
from teacherlm_jax.storage.repeated import Repeated, say_if_possible
from teacherlm_jax.storage.temporary import TemporaryFolder

_PUBLISH_SECONDS = 30.0  # between two publications of partial files in a bucket


class OpenShards(dict[int, ClaimedShard]):
    """The shards that a process works on, by number. Remove each when it is finished."""

    @contextlib.contextmanager
    def publishing(self, log: logging.Logger) -> Iterator[Path]:
        """Publish partial files every 30 seconds, and close those that are left at the end.

        Yields a folder in which the partial files of a bucket can grow. A publication that fails is
        logged as a warning and tried again. If the last one fails, the folder stays, and the error
        that ends the block names it. An error of another kind stays as it is; then a warning does.

        Raises StoreError if the store refuses the last publication.
        """

        def publish() -> None:
            call_all(shard.publish for shard in list(self.values()))

        temporary = TemporaryFolder()
        ended: BaseException | None = None
        publications = Repeated(_PUBLISH_SECONDS, publish, log.warning)
        try:
            yield temporary.path
        except BaseException as error:
            ended = error
            raise
        finally:
            try:
                publications.end()
                refused = self._close()
            except BaseException:  # such as another signal to stop
                message = f"stopped before all files were closed{_kept(temporary)}"
                say_if_possible(log.warning, message)
                raise
            if refused:
                _report(refused, ended, _kept(temporary), log)
            else:
                temporary.close()

    def _close(self) -> Exception | None:
        """Close all shards; return the first error of one whose partial files are incomplete."""
        try:
            call_all(shard.close for shard in self.values())
        except (ExplainedError, OSError) as error:
            return error
        finally:
            self.clear()
        return None


def _kept(temporary: TemporaryFolder) -> str:
    """Keep the partial files of a bucket; return what to do with them, or "" on a disk."""
    buckets = [path for path in temporary.path.iterdir() if path.is_dir()]
    if not buckets:
        temporary.close()
        return ""
    temporary.keep()
    commands = (
        f"gcloud storage cp --recursive {shlex.quote(str(path))}/* "
        f"{shlex.quote(f'{BUCKET}{path.name}')}/"
        for path in buckets
    )
    return (
        f"; explanations that are not in the bucket yet are in {temporary.path}: copy them before "
        f"you repeat the command, or it generates them again: {'; '.join(commands)}"
    )


def _report(
    refused: Exception, ended: BaseException | None, kept: str, log: logging.Logger
) -> None:
    """Say where explanations are that were not published, in the error that ends the work.

    If the work ended with an error of another kind, a warning says it, unless both errors name the
    same file.
    """
    if ended is None and isinstance(refused, ExplainedError):
        raise StoreError(f"{refused}{kept}") if kept else refused
    if kept and isinstance(ended, StoreError):
        ended.args = (f"{ended}{kept}",)
    elif kept or getattr(refused, "filename", None) != getattr(ended, "filename", None):
        say_if_possible(log.warning, f"{refused}{kept}")
    if ended is None:
        raise refused
