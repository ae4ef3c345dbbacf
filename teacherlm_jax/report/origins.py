"""Runs by what they wrote: found by path, by digest, or by their recorded output.

An input is looked for at its recorded path, then by its digest, so that run folders may move. Where
a digest cannot decide, because a copy has no checkpoints, the recorded outputs of the runs do.
"""

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from etils import epath

from teacherlm_jax.config.endpoint_config import is_endpoint
from teacherlm_jax.hf import hub
from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.storage import locations
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.wording import counted

_MOST_NAMED = 3


@dataclasses.dataclass(frozen=True)
class RecordedInput:
    """An input as the run that read it recorded it.

    Attributes:
        path: its path.
        digest: its digest; empty: none.
        changed: whether something else is at the path now.
        place: the part of the run folder that was read, such as `checkpoints/100`; empty: unknown.
    """

    path: epath.PathLike
    digest: str = ""
    changed: bool = False
    place: str = ""


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Contents of a run folder, by their places there.

    Attributes:
        digests: digests of the outputs.
        unreadable: a sentence for each output that cannot be read.
    """

    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Origins:
    """Runs by what they wrote; `outputs_of` reads what is in a run folder."""

    def __init__(self, runs: Sequence[RunRecord], outputs_of: Callable[[RunRecord], Outputs]):
        self._runs = list(runs)
        self._outputs = functools.cache(lambda at: outputs_of(self._runs[at]))
        self._read: set[int] = set()
        self._at_folder: dict[str, list[int]] = {}
        self._at_output: dict[str, list[int]] = {}
        for at, run in enumerate(self._runs):
            self._at_folder.setdefault(str(locations.absolute(run.path)), []).append(at)
            if output := run.config.get("output"):
                self._at_output.setdefault(str(locations.absolute(str(output))), []).append(at)

    def find(self, wanted: RecordedInput, without: Sequence[epath.Path] = ()) -> RunRecord | None:
        """Return the run that wrote an input, none of the folders `without`; None if not known."""
        if not _is_in_a_folder(wanted):
            return None
        known = [at for at, run in enumerate(self._runs) if run.path not in without]
        here = [at for at in self._around(wanted, self._at_folder) if at in known]
        if here and not wanted.changed:
            return self._runs[here[0]]
        for at in known if wanted.digest else ():
            if wanted.digest in self._outputs_at(at).digests.values():
                return self._runs[at]
        moved = [at for at in self._around(wanted, self._at_output) if at in known]
        moved = [at for at in moved if not self._is_ruled_out(at, wanted)]
        return self._runs[moved[0]] if len(moved) == 1 and not wanted.changed else None

    def any_matches(self, pattern: epath.Path, inside: str) -> bool:
        """Return whether a glob can name files in the folder `inside` of a run, also a moved one.

        Like a path, the glob is compared with the folders and the recorded outputs of the runs.
        """
        parts = locations.absolute(pattern).parts
        known = {*self._at_folder, *self._at_output}
        folders = ((StoragePath(folder) / inside).parts for folder in known)
        return any(_matches_start(parts, folder) for folder in folders)

    def place_of(self, run: RunRecord, digest: str) -> str:
        """Return where in a run folder the output with a digest is; empty if it is not there."""
        digests = self._outputs_at(self._runs.index(run)).digests
        return next((place for place, own in digests.items() if own == digest), "")

    def why_not_found(self, wanted: RecordedInput) -> list[str]:
        """Return what is known about an input that was not found, as parts of a sentence."""
        if not _is_in_a_folder(wanted):
            return []
        parts = ["something else is at this path now"] if wanted.changed else []
        near = self._around(wanted, self._at_folder if wanted.changed else self._at_output)
        if len(near) > 1:
            names = _named([self._runs[at].name for at in near])
            parts.append(f"config.output of {names} contains it")
        for at in near:
            outputs = self._outputs_at(at)
            if wanted.place and wanted.place not in {*outputs.digests, *outputs.unreadable}:
                parts.append(f"{self._runs[at].name} has no {wanted.place} any more")
        if unreadable := [name for name, _ in self._unreadable()]:
            parts.append(f"{_named(unreadable)} cannot be read")
        return parts

    def unreadable(self) -> list[str]:
        """Return a sentence for each output that a search by digest could not read."""
        return [f"{name}: {reason}" for name, reason in self._unreadable()]

    def _unreadable(self) -> Iterator[tuple[str, str]]:
        for at in sorted(self._read):
            for place, reason in self._outputs(at).unreadable.items():
                yield f"{self._runs[at].name}/{place}", reason

    def _outputs_at(self, at: int) -> Outputs:
        self._read.add(at)
        return self._outputs(at)

    def _is_ruled_out(self, at: int, wanted: RecordedInput) -> bool:
        """Return whether a run, which has no output with the digest, cannot have had it."""
        if not wanted.digest:
            return False
        digests = self._outputs_at(at).digests
        return wanted.place in digests if wanted.place else bool(digests)

    def _around(self, wanted: RecordedInput, by_folder: Mapping[str, list[int]]) -> list[int]:
        """Return the runs whose folders contain a path, the innermost first."""
        whole = locations.absolute(wanted.path)
        return [at for folder in (whole, *whole.parents) for at in by_folder.get(str(folder), ())]


def _is_in_a_folder(wanted: RecordedInput) -> bool:
    name = str(wanted.path)
    return bool(name) and not hub.is_address(name) and not is_endpoint(name)


def _matches_start(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Return whether a folder matches the beginning of a glob; both as parts of a path."""
    pairs = zip(pattern, folder, strict=False)
    return len(pattern) > len(folder) and all(
        part == name or fnmatch.fnmatchcase(name, part) for part, name in pairs
    )


def _named(names: Sequence[str]) -> str:
    """Return names as a list of words; of many, the first ones."""
    if len(names) > _MOST_NAMED:
        more = counted(len(names) - _MOST_NAMED, "other")
        return f"{', '.join(names[:_MOST_NAMED])} and {more}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
