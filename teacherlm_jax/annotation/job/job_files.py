"""Files of an annotation job, on a disk or in a bucket: plan, samples, explanations and figures.

A complete file in `texts/` or `samples/` has a file in `counts/` with its figures, which is written
last and has the size in its name. A file without one, or of another size, is compared row by row.
"""

import contextlib
import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data.sample import Sample, from_row
from teacherlm_jax.errors import MissingFile, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files, objects
from teacherlm_jax.storage.locations import is_remote

FORMAT = 1  # of job.json
_COUNTS = re.compile(r"part-(\d+)-(\d+)\.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobRecord:
    """The plan of a job, as it is recorded in `job.json`.

    Attributes:
        source: size and digest of each file of the source, by name.
        settings: the settings that decide rows and prompts.
        shards: number of rows of each shard.
        refused: number of rows that are not annotated.
        lengths: number of prompts by kind and by length in tokens.
    """

    source: Mapping[str, Any]
    settings: Mapping[str, Any]
    shards: tuple[int, ...]
    refused: int
    lengths: Mapping[str, Mapping[int, int]]

    @property
    def rows(self) -> int:
        """Number of samples."""
        return sum(self.shards)

    def lengths_of(self, kinds: Sequence[str]) -> Counter[int]:
        """Return the number of prompts by length for some kinds together."""
        return sum((Counter(self.lengths[kind]) for kind in kinds), Counter())

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON, for `from_json`."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "JobRecord":
        """Return the plan of `to_json`; raise an error of some kind if it is another object."""
        if value["format"] != FORMAT:
            raise ValueError(f"format {value['format']}, expected {FORMAT}")
        lengths = {
            kind: {int(tokens): int(count) for tokens, count in counts.items()}
            for kind, counts in value["lengths"].items()
        }
        return cls(
            source=dict(value["source"]),
            settings=dict(value["settings"]),
            shards=tuple(map(int, value["shards"])),
            refused=int(value["refused"]),
            lengths=lengths,
        )


class JobFolder:
    """The run folder of a job, with the names of its files."""

    def __init__(self, address: epath.Path):
        self.address = address

    def shard(self, index: int) -> epath.Path:
        """Return the file with the samples of a shard."""
        return self.address / layout.SHARDS / shard_name(index)

    def texts(self, kind: str, index: int) -> epath.Path:
        """Return the file with the explanations of one kind."""
        return self.address / layout.TEXTS / kind / shard_name(index)

    def rejected(self, kind: str, index: int) -> epath.Path:
        """Return the file with the rejected texts of one kind, which were generated again."""
        return self.address / layout.REJECTED / kind / shard_name(index)

    def samples(self, index: int) -> epath.Path:
        """Return the file with the annotated samples of a shard."""
        return self.address / layout.SAMPLES / shard_name(index)

    def sketches(self, kind: str, index: int) -> epath.Path:
        """Return the file with the sketches of the explanations of one kind."""
        return self.address / layout.SKETCHES / kind / f"{_stem(index)}.bin"

    def counts(self, part: str, index: int, size: int) -> epath.Path:
        """Return the file with the figures of a file of `size` bytes.

        `part` is a kind of explanations, or layout.SAMPLES.
        """
        return self.address / layout.COUNTS / part / f"{_stem(index)}-{size}.json"

    def counted(self, part: str) -> dict[int, int]:
        """Return the bytes of all files of a part that are complete and counted, by shard."""
        return dict(self._counted(part))

    def _counted(self, part: str) -> list[tuple[int, int]]:
        """Return shard and bytes of all figures of a part.

        A shard has two of them if a process was killed when it had replaced a file.
        """
        names = files.names(self.address / layout.COUNTS / part)
        found = (_COUNTS.fullmatch(name) for name in names)
        return [(int(match[1]), int(match[2])) for match in found if match]

    def complete_by_name(self, kind: str) -> tuple[set[str], set[str]]:
        """Return the names of the complete and of the partial files of a kind."""
        names = set(files.names(self.address / layout.TEXTS / kind))
        partial = {name for name in names if name.endswith(files.PARTIAL)}
        return {name for name in names - partial if not name.startswith(".")}, partial

    def uncounted(self, kind: str, counted: Collection[int]) -> list[epath.Path]:
        """Return the files of a kind of shards that are not in `counted`.

        A shard's partial file is left out if the complete one is there, which has all its rows.
        """
        complete, partial = self.complete_by_name(kind)
        names = complete - {shard_name(index) for index in counted}
        names |= {name for name in partial if name.removesuffix(files.PARTIAL) not in complete}
        return [self.address / layout.TEXTS / kind / name for name in sorted(names)]

    def read_shard(self, index: int) -> list[Sample]:
        """Return the samples of a shard."""
        return [from_row(row) for row in self.rows_of_shard(index)]

    def rows_of_shard(self, index: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of a shard; raise UserError if one is damaged."""
        path = self.shard(index)
        for number, row in files.read_jsonl(path):
            if isinstance(row, files.MalformedRow):
                raise UserError(
                    f"{path}:{number}: {row.reason}; restore the file, or choose another "
                    "config.output"
                )
            yield row

    def read_record(self) -> JobRecord | None:
        """Return the recorded plan, or None if there is none."""
        path = self.address / layout.JOB
        if not files.exists(path):
            return None
        try:
            return JobRecord.from_json(files.read_json(path))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{path}: not the plan of a job ({type(error).__name__}: {error}); restore the "
                "file, or choose another config.output"
            ) from None

    def write_record(self, record: JobRecord) -> None:
        """Record a plan whose shards are written."""
        files.write_json(self.address / layout.JOB, record.to_json())

    def forget_changed(self, kinds: Sequence[str]) -> None:
        """Remove the figures of files that are missing or have another size.

        Annotated samples have no figures either if explanations of their shard have none.
        """
        # Other processes add figures meanwhile, those of the samples last: they are listed first.
        samples = self._forget_changed(layout.SAMPLES, self.address / layout.SAMPLES)
        texts = self.address / layout.TEXTS
        with_texts = set[int].intersection(
            *(set(self._forget_changed(kind, texts / kind)) for kind in kinds)
        )
        for index in samples.keys() - with_texts:
            self._forget(layout.SAMPLES, index, samples[index])

    def _forget_changed(self, part: str, folder: epath.Path) -> dict[int, int]:
        """Remove figures of one part; return the bytes of the files that keep theirs, by shard."""
        # Another process writes a file before its figures, so all files of these are in `sizes`.
        counted, kept = self._counted(part), dict[int, int]()
        sizes = _sizes(folder)
        for index, size in counted:
            if sizes.get(shard_name(index)) == size:
                kept[index] = size
            else:
                self._forget(part, index, size)
        return kept

    def _forget(self, part: str, index: int, size: int) -> None:
        files.remove(self.counts(part, index, size))


def shard_name(index: int) -> str:
    """Return the file name of a shard. It does not change when shards are added."""
    return f"{_stem(index)}.jsonl"


def _stem(index: int) -> str:
    return f"part-{index:05d}"


def _sizes(folder: epath.Path) -> Mapping[str, int]:
    """Return the bytes of all files in a folder that other processes may change, by name."""
    if is_remote(folder):
        return objects.listing(folder)
    sizes = dict[str, int]()
    for name in files.names(folder):
        with contextlib.suppress(MissingFile):  # renamed or removed since it was listed
            sizes[name] = files.size(folder / name)
    return sizes
