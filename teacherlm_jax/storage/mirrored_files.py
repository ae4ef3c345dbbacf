"""Choice of the files in a bucket that a mirror copies to this machine and publishes."""

import dataclasses
import fnmatch
import os
from collections.abc import Collection, Sequence


@dataclasses.dataclass(frozen=True)
class MirroredFiles:
    """The files of a folder that a mirror copies and publishes.

    Files are named by their path relative to the folder. By default, these are all files that are
    not hidden: no part of their path begins with a dot.

    Attributes:
        only: names in the folder, or patterns such as "*.jsonl", that are copied and published;
            empty: all.
        apart: names in the folder that others read and write in the bucket directly.
        unread: names in the folder, and suffixes of files, that are published but not copied from
            the bucket.
        nested: file that marks a folder inside the folder which is a mirror of its own; what is in
            it is not copied.
        last: names of files that are published after all others, in this order.
    """

    only: Collection[str] = ()
    apart: Collection[str] = ()
    unread: Collection[str] = ()
    nested: str = ""
    last: Sequence[str] = ()

    def published(self, path: str) -> bool:
        """Return whether a file is published."""
        parts = path.split("/")
        if parts[0] in self.apart or not self._chosen(parts[0]):
            return False
        return not any(part.startswith(".") for part in parts)

    def _chosen(self, name: str) -> bool:
        return not self.only or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.only)

    def copied(self, paths: Collection[str]) -> list[str]:
        """Return the files to copy of those in the bucket."""
        others = {path.rpartition("/")[0] for path in paths if path.endswith(f"/{self.nested}")}
        return [
            path
            for path in paths
            if self.published(path)
            and path.partition("/")[0] not in self.unread
            and os.path.splitext(path)[1] not in self.unread
            and not any(path.startswith(f"{folder}/") for folder in others)
        ]

    def in_order(self, paths: Collection[str]) -> tuple[list[str], list[str]]:
        """Return the files to publish at the same time, and those after them, one by one."""
        names = {path: path.rpartition("/")[2] for path in paths}
        first = [path for path in paths if names[path] not in self.last]
        after = sorted(
            set(paths) - set(first), key=lambda path: (self.last.index(names[path]), path)
        )
        return first, after


ALL_FILES = MirroredFiles()
