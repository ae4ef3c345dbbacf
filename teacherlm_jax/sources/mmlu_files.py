"""The csv files of MMLU as its authors publish them (https://github.com/hendrycks/test).

Each file holds one subject of one split, such as `test/abstract_algebra_test.csv`. It has no
header, and the subject is only in its name.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from teacherlm_jax.sources.columns import RawRow
from teacherlm_jax.storage import files

LETTERS = ("A", "B", "C", "D")
HEADER = ("question", *LETTERS, "answer")

_NAME = re.compile(r"(?P<subject>\w+)_(?P<split>test|dev|val)\.csv")


def is_one(path: epath.Path) -> bool:
    """Return whether a file is named like one of MMLU's csv files, and has no header either.

    A first line that names the columns `question` and `answer` is a header.
    """
    if _NAME.fullmatch(path.name) is None:
        return False
    with files.opened(path) as file:
        first = file.readline().decode("utf-8-sig", errors="replace")
    return not {"question", "answer"} <= {name.strip('" ') for name in first.strip().split(",")}


def are_one_split(paths: Sequence[epath.Path]) -> bool:
    """Return whether all files are named like MMLU's csv files of one split."""
    names = [_NAME.fullmatch(path.name) for path in paths]
    return len({name and name["split"] for name in names}) == 1 and all(names)


def with_subject(
    path: epath.Path, rows: Iterable[tuple[int, RawRow | files.MalformedRow]]
) -> Iterator[tuple[int, RawRow | files.MalformedRow]]:
    """Yield the rows of one of MMLU's csv files with the subject that its name states."""
    name = _NAME.fullmatch(path.name)
    assert name is not None
    for line, row in rows:
        if not isinstance(row, files.MalformedRow):
            row = {**row, "subject": name["subject"]}
        yield line, row
