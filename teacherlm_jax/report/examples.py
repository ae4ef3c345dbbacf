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
    def question(self) -> str:
        """Return the question with its options, if it has any."""
        return f"{self.sample.question} {prompts.options_text(self.sample)}".strip()

    @property
    def answer(self) -> str:
        """Return the correct answer; with options, its letter and its text."""
        if not self.sample.options:
            return self.sample.answer
        return f"{self.sample.answer} {self.sample.options[self.sample.answer_index]}"


def examples(folder: epath.Path, wanted: int) -> list[Example]:
    """Return up to `wanted` samples from `samples/` of an annotation run.

    Up to `wanted` shards are read. The samples are spread evenly over the sources in them, and
    evenly within a source.
    """
    shards = _spread(sorted(folder.glob("part-*.jsonl")), wanted)
    by_source: dict[str, list[dict[str, Any]]] = {}
    for shard in shards:
        for _, row in files.read_jsonl(shard):
            if isinstance(row, dict):
                by_source.setdefault(row["source"], []).append(row)
    sources = _spread(list(by_source), wanted)
    in_turn = itertools.zip_longest(*(_spread(by_source[name], wanted) for name in sources))
    chosen = [row for rows in in_turn for row in rows if row is not None]
    return [_example(row) for row in chosen[:wanted]]


def _spread(items: Sequence[_Item], wanted: int) -> list[_Item]:
    """Return `wanted` items: the first, the last, and others evenly between; or all, if fewer."""
    if len(items) <= wanted:
        return list(items)
    return [items[round(step * (len(items) - 1) / (wanted - 1))] for step in range(wanted)]


def _example(row: Mapping[str, Any]) -> Example:
    written = {
        kind: (row["explanations"][kind][entry["author"]], entry["gates"])
        for kind, entry in row["annotations"].items()
    }
    return Example(sample=from_row(row), written=written)
