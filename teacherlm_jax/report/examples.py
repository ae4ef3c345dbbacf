"""Some annotated samples to be shown in full, chosen by their place and not by their quality."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import Sample, from_row
from teacherlm_jax.storage import files

_Thing = TypeVar("_Thing")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """An annotated sample.

    Attributes:
        sample: the sample itself.
        written: by kind, the explanation that this annotation wrote and the verdicts of its gates.
    """

    sample: Sample
    written: Mapping[str, tuple[str, Mapping[str, bool]]]

    @property
    def id(self) -> str:
        """Of the sample."""
        return self.sample.id

    @property
    def question(self) -> str:
        """The question with its options, if it has any."""
        return f"{self.sample.question} {prompts.options_text(self.sample)}".strip()

    @property
    def answer(self) -> str:
        """The right answer; with options, its letter and its text."""
        if not self.sample.options:
            return self.sample.answer
        return f"{self.sample.answer} {self.sample.options[self.sample.answer_index]}"


def examples(folder: Path, wanted: int) -> list[Example]:
    """Up to `wanted` samples of an annotation's `samples/`, of different sources where it can.

    They lie evenly over the sources found in as many shards, and evenly within a source.
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


def _spread(things: Sequence[_Thing], wanted: int) -> list[_Thing]:
    """The first, the last, and others evenly between them; all when there are not more."""
    if len(things) <= wanted:
        return list(things)
    return [things[round(step * (len(things) - 1) / (wanted - 1))] for step in range(wanted)]


def _example(row: Mapping[str, Any]) -> Example:
    written = {
        kind: (row["explanations"][kind][made["author"]], made["gates"])
        for kind, made in row["annotations"].items()
    }
    return Example(sample=from_row(row), written=written)
