"""Groups of training runs whose settings differ in few keys, as those of a sweep do."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.report.collect import RunRecord
from teacherlm_jax.runs.identity import belongs_to, flatten

MOST_KEYS = 4  # settings in which the runs of a group differ

# Settings that change no result.
_NO_SETTINGS = (
    *("output", "root", "stands_for", "log_every", "verify_data", "track", "tracking"),
    *("compilation_cache", "data_cache", "data_cache_gib"),
)


@dataclasses.dataclass(frozen=True)
class RunGroup:
    """Training runs, and the settings in which they differ.

    Attributes:
        runs: the runs, sorted by name.
        keys: keys of the settings that are not equal in all runs.
        title: the folder of the runs, if all of them are in one, and the keys.
    """

    runs: tuple[RunRecord, ...]
    keys: tuple[str, ...]
    title: str


@dataclasses.dataclass(frozen=True)
class _Cluster:
    """Runs, the keys in which they differ, and the settings that they share as (key, text)."""

    runs: tuple[RunRecord, ...]
    keys: frozenset[str]
    shared: frozenset[tuple[str, str]]

    def keys_with(self, other: "_Cluster") -> frozenset[str]:
        unequal = (key for key, _ in self.shared ^ other.shared)
        return self.keys.union(other.keys, unequal)

    def joined(self, other: "_Cluster") -> "_Cluster":
        keys = self.keys_with(other)
        shared = frozenset(pair for pair in self.shared if pair[0] not in keys)
        return _Cluster((*self.runs, *other.runs), keys, shared)

    @property
    def folders(self) -> set[str]:
        return {folder_of(run) for run in self.runs}


def groups(runs: Sequence[RunRecord]) -> list[RunGroup]:
    """Return the groups of training runs, in the order of their first runs.

    Runs are in one group if all of them together differ in up to `MOST_KEYS` settings; those that
    differ in the fewest join first. Runs on different data are in one group only if they are in one
    folder, as those of a sweep over `data` are. A run without a group is left out.
    """
    clusters = [_cluster(run) for run in runs if run.verb == "train" and run.config]
    for most in range(MOST_KEYS + 1):
        clusters = _joined(clusters, most)
    found = [_group(cluster) for cluster in clusters if len(cluster.runs) > 1 and cluster.keys]
    return sorted(found, key=lambda group: group.runs[0].name)


def settings(run: RunRecord) -> Mapping[str, Any]:
    """Return the settings of a run by key, without those that change no result."""
    return {
        key: value
        for key, value in flatten(run.config).items()
        if not any(belongs_to(key, part) for part in _NO_SETTINGS)
    }


def folder_of(run: RunRecord) -> str:
    """Return the folder above a run, relative to that of the report; "" for the latter."""
    return run.name.rpartition("/")[0]


def _cluster(run: RunRecord) -> _Cluster:
    pairs = ((key, repr(value)) for key, value in settings(run).items())
    return _Cluster((run,), frozenset(), frozenset(pairs))


def _joined(clusters: Sequence[_Cluster], most: int) -> list[_Cluster]:
    """Return the clusters, each joined with the first earlier one that it may join."""
    kept: list[_Cluster] = []
    for cluster in clusters:
        for index, earlier in enumerate(kept):
            keys = earlier.keys_with(cluster)
            if len(keys) > most:
                continue
            if "data" not in keys or len(earlier.folders | cluster.folders) == 1:
                kept[index] = earlier.joined(cluster)
                break
        else:
            kept.append(cluster)
    return kept


def _group(cluster: _Cluster) -> RunGroup:
    runs = tuple(sorted(cluster.runs, key=lambda run: run.name))
    order = dict.fromkeys(key for run in runs for key in settings(run))
    keys = tuple(key for key in order if key in cluster.keys)
    folder = cluster.folders.pop() if len(cluster.folders) == 1 else ""
    return RunGroup(runs, keys, ": ".join(filter(None, (folder, ", ".join(keys)))))
