"""One source, surveyed in a single pass over its files that spools its usable samples."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.sources import source_files
from teacherlm_jax.sources.duplicates import Questions
from teacherlm_jax.sources.raw_rows import SourceRows, open_rows
from teacherlm_jax.sources.reading import SourceReading, without_failed
from teacherlm_jax.storage import exchange, files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.storage.refused_rows import ReasonCounts, RefusedRows
from teacherlm_jax.tasks.sample_spool import SampleSpool
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_SAMPLES, _CANDIDATES = "samples.jsonl.zst", "candidates.jsonl.zst"
_RECORDED = ("reader", "samples", "refused", "digest", "files", "by_file", "warnings", "imported")


@dataclasses.dataclass(frozen=True)
class SurveyedSource:
    """A source whose files were read from start to end.

    Attributes:
        config: location, format and limits of the source.
        reader: the reader that its files were read with.
        samples: number of usable rows, up to the limit.
        refused: number of rows that cannot be used.
        digest: `sha256:…` of the usable samples; empty if they were not kept.
        files: `sha256:…` by file name, for every file that the rows depend on.
        by_file: number of rows of each file that were `read`, `used`, and `refused` (by reason).
            The other rows are beyond the limit.
        warnings: likely mistakes in the config, seen from the rows.
        imported: number of further explanations in the samples, by kind and author.
        folder: scratch folder with the spooled samples, which may be in a bucket.
    """

    config: SourceConfig
    reader: str
    samples: int
    refused: int
    digest: str
    files: Mapping[str, str]
    by_file: Mapping[str, Mapping[str, Any]]
    warnings: Sequence[str]
    imported: Mapping[str, Mapping[str, int]]
    folder: epath.Path

    def read(self, checked_only: bool = False) -> Iterator[Sample]:
        """Yield the samples from the spool.

        With `checked_only`, explanations that failed a gate are left out of their samples. Raises
        ValueError if the survey did not keep the samples.
        """
        if not self.digest:
            raise ValueError(f"the survey did not keep the samples of {self.config.name!r}")
        if not self.samples:
            return
        with exchange.file_to_read(self.folder / _SAMPLES) as spool:
            for _, sample in SampleSpool(spool).read():
                yield without_failed(sample) if checked_only else sample

    @property
    def identity(self) -> dict[str, Any]:
        """Everything about the source that decides a mixture: settings and digests, no path."""
        settings = dataclasses.asdict(self.config)
        del settings["path"], settings["explanations"]
        counts: dict[str, Any] = {
            "reader": self.reader,
            "samples": self.samples,
            "refused": self.refused,
        }
        if self.imported:
            counts["imported"] = self.imported
        return settings | counts | {"digest": self.digest, "files": list(self.files.values())}

    def to_json(self) -> dict[str, Any]:
        """Return the results of the survey as plain values, for `from_json`."""
        return {name: getattr(self, name) for name in _RECORDED}

    @classmethod
    def from_json(
        cls, config: SourceConfig, folder: epath.Path, value: Mapping[str, Any]
    ) -> "SurveyedSource":
        """Return the source that was surveyed into `folder`, possibly by another process."""
        return cls(config=config, folder=folder, **{name: value[name] for name in _RECORDED})


@dataclasses.dataclass(frozen=True)
class SurveySettings:
    """Settings by which the sources of a preparation are read.

    Attributes:
        root: the folder that `SourceConfig.path` is relative to.
        seed: decides which samples a limit by seed keeps.
        vocabulary: counts tokens, for sources with `max_tokens`.
    """

    root: str
    seed: int = 0
    vocabulary: Vocabulary | None = None


def survey_source(
    config: SourceConfig,
    settings: SurveySettings,
    refused: RefusedRows,
    folder: Path,
    *,
    keep: bool = True,
) -> tuple[SurveyedSource, Questions]:
    """Read a source in one pass; return the survey, and the source's questions.

    Files that are not read in sequence (Parquet, Arrow, TFRecord), or not to their end because of
    a limit, are opened once more to compute their digest.

    Args:
        config: location, format and limits of the source.
        settings: how it is read.
        refused: collects the rows that cannot be used.
        folder: scratch folder of this source, on this machine.
        keep: spool the samples, so that `SurveyedSource.read` can yield them.

    Raises UserError as `SourceReading.first` does.
    """
    reading = SourceReading(config, settings.root, settings.seed)
    own = refused.part()
    used, questions, digest = _read(reading, own, settings.vocabulary, folder, keep)
    by_file = {
        file: _figures(read, used[file], own.by_file.get(file, ReasonCounts()).counts)
        for file, read in reading.rows_read.items()
    }
    source = SurveyedSource(
        config=config,
        reader=source_files.reader_of(config, source_files.find(config, settings.root)),
        samples=reading.samples,
        refused=sum(sum(figures["refused"].values()) for figures in by_file.values()),
        digest=digest,
        files=_digests(reading.rows or open_rows(config, settings.root)),
        by_file=by_file,
        warnings=reading.warnings,
        imported=reading.imported,
        folder=StoragePath(folder),
    )
    return source, questions


def _read(
    reading: SourceReading,
    refused: RefusedRows,
    vocabulary: Vocabulary | None,
    folder: Path,
    keep: bool,
) -> tuple[Counter[str], Questions, str]:
    """Read a source to its end, and spool its samples with `keep`.

    Return the number of samples by file, the questions, and the digest of the spool if it is kept.
    """
    spool, candidates = SampleSpool(folder / _SAMPLES), SampleSpool(folder / _CANDIDATES)
    used, questions = Counter[str](), Questions()
    try:
        for location, sample in reading.first(
            refused, vocabulary=vocabulary, candidates=candidates
        ):
            used[location.file] += 1
            questions.add(reading.config.name, location, sample)
            if keep:
                spool.add(location, sample)
    finally:
        digest = spool.close()
        candidates.close()
        candidates.path.unlink(missing_ok=True)
    return used, questions, digest if keep else ""


def _figures(read: int, used: int, refused: Mapping[str, int]) -> dict[str, Any]:
    return {"read": read, "used": used, "refused": dict(refused)}


def _digests(rows: SourceRows) -> dict[str, str]:
    """Return digests by name, computed here for files without one from reading."""
    names = source_files.names_apart((*rows.files, *rows.beside))
    return {
        name: rows.digests.get(str(path)) or files.file_digest(path) for path, name in names.items()
    }
