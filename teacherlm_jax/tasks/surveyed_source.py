"""Raw files as sources that can be read again and again."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.sources.duplicates import Questions
from teacherlm_jax.sources.raw_rows import SourceRows, names_apart
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import ReasonCounts, RefusedRows
from teacherlm_jax.tasks.tfds_rows import open_rows
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_FOUND = ("samples", "refused", "digests", "by_file", "warnings")  # fields of a Source


@dataclasses.dataclass(frozen=True)
class Source:
    """A source that was read once from end to end, so that all its later readings are known.

    Attributes:
        config: where and what.
        root: the folder that `config.path` is taken under.
        samples: usable rows, up to the limit.
        refused: rows that cannot be used.
        digests: sha256 by file name, of every file that decides what the rows are.
        by_file: for each file that holds rows: how many were `read`, how many of these are `used`,
            and how many were `refused`, by reason. What is neither is beyond the limit.
        warnings: what the rows suggest to check in the config.
    """

    config: SourceConfig
    root: str
    samples: int
    refused: int
    digests: dict[str, str]
    by_file: dict[str, dict[str, Any]] = dataclasses.field(repr=False)
    warnings: list[str] = dataclasses.field(repr=False)
    _reading: SourceReading = dataclasses.field(repr=False)

    def read(self, checked_only: bool = False) -> Iterator[Sample]:
        """Yields the samples again, `checked_only` without explanations that failed a gate."""
        for _, sample in self._reading.again(checked_only):
            yield sample

    def to_json(self) -> dict[str, Any]:
        """All that a reading of the files found, for `from_json`."""
        found = {name: getattr(self, name) for name in _FOUND}
        return found | {"seed": self._reading.seed, "chosen": self._reading.chosen}

    @classmethod
    def from_json(cls, config: SourceConfig, root: str, found: dict[str, Any]) -> "Source":
        """The source again, without reading it."""
        reading = SourceReading(config, root, found["seed"], open_rows)
        reading.choose(found["chosen"])
        figures = {name: found[name] for name in _FOUND}
        return cls(config=config, root=root, **figures, _reading=reading)


def survey(
    config: SourceConfig,
    root: str,
    refused: RefusedRows,
    *,
    seed: int = 0,
    vocabulary: Vocabulary | None = None,
) -> tuple[Source, Questions]:
    """Reads a source for the first time, and takes note of its questions.

    Args:
        config: where and what.
        root: the folder that `config.path` is taken under.
        refused: takes the rows that cannot be used.
        seed: decides which samples a limit by seed keeps.
        vocabulary: counts tokens, where the source has `max_tokens`.

    Raises UserError for all that `SourceReading.first` does.
    """
    reading = SourceReading(config, root, seed, open_rows)
    own = refused.part()
    used, questions = Counter[str](), Questions()
    for place, sample in reading.first(own, vocabulary=vocabulary):
        used[place.file] += 1
        questions.add(config.name, place, sample)
    by_file = {
        file: _figures(read, used[file], own.by_file.get(file, ReasonCounts()).counts)
        for file, read in reading.rows_read.items()
    }
    source = Source(
        config=config,
        root=root,
        samples=reading.samples,
        refused=sum(sum(each["refused"].values()) for each in by_file.values()),
        digests=_digests(open_rows(config, root)),
        by_file=by_file,
        warnings=reading.warnings,
        _reading=reading,
    )
    return source, questions


def _figures(read: int, used: int, refused: Mapping[str, int]) -> dict[str, Any]:
    return {"read": read, "used": used, "refused": dict(refused)}


def _digests(rows: SourceRows) -> dict[str, str]:
    names = names_apart((*rows.files, *rows.beside))
    return {name: files.file_digest(path) for path, name in names.items()}
