"""Annotated samples that a report shows in full, chosen by position and not by quality."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from etils import epath

from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import Sample, from_row
from teacherlm_jax.storage import files

_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """An annotated sample.

    Attributes:
        sample: the sample itself.
        written: by kind, the explanation that this annotation wrote, and the verdict of each gate.
    """

    sample: Sample
    written: Mapping[str, tuple[str, Mapping[str, bool]]]

    @property
    def id(self) -> str:
        """Return the id of the sample."""
        return self.sample.id

    @property
    def fails(self) -> bool:
        """Return whether one of the texts fails a gate."""
        return any(
            passed is False for _, gates in self.written.values() for passed in gates.values()
        )

    @property
    def question(self) -> str:
        """Return the question with its options, if it has any."""
        return f"{self.sample.question} {prompts.options_text(self.sample)}".strip()

    @property
    def answer(self) -> str:
        """Return the correct answer; with options, its letter and its text."""
        if not self.sample.options:
            return self.sample.answer
        return f"{self.sample.answer} {self.sample.options[self.sample.answer_index]}"


def examples(folder: epath.Path, wanted: int, failing: int = 0) -> list[Example]:
    """Return up to `wanted` samples from `samples/` of an annotation run.

    Up to `wanted` shards are read. The samples are spread evenly over the sources in them, and
    evenly within a source. With `failing`, up to so many of them have a text that fails a gate.
    """
    shards = _spread(sorted(folder.glob("part-*.jsonl")), wanted)
    rows = [row for shard in shards for _, row in files.read_jsonl(shard) if isinstance(row, dict)]
    if not failing:
        return [_example(row) for row in _chosen(rows, wanted)]
    bad = [row for row in rows if _fails(row)]
    good = [row for row in rows if not _fails(row)]
    chosen = _chosen(bad, failing)
    return [_example(row) for row in (*_chosen(good, wanted - len(chosen)), *chosen)]


def _fails(row: Mapping[str, Any]) -> bool:
    entries = row["annotations"].values()
    return any(passed is False for entry in entries for passed in entry["gates"].values())


def _chosen(rows: Sequence[dict[str, Any]], wanted: int) -> list[dict[str, Any]]:
    by_source: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(row)
    sources = _spread(list(by_source), wanted)
    in_turn = itertools.zip_longest(*(_spread(by_source[name], wanted) for name in sources))
    return [row for group in in_turn for row in group if row is not None][:wanted]


def _spread(items: Sequence[_Item], wanted: int) -> list[_Item]:
    """Return `wanted` items: the first, the last, and others evenly between; or all, if fewer."""
    if len(items) <= wanted:
        return list(items)
    last = max(wanted - 1, 1)
    return [items[round(step * (len(items) - 1) / last)] for step in range(wanted)]


def _example(row: Mapping[str, Any]) -> Example:
    written = {
        kind: (row["explanations"][kind][entry["author"]], entry["gates"])
        for kind, entry in row["annotations"].items()
    }
    return Example(sample=from_row(row), written=written)
