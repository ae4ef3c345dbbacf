"""Cases of `benchmarks/gpu.py`: time budgets, failures, memory, and a JSON file after each case."""

import dataclasses
import gc
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import is_out_of_memory, one_line
from teacherlm_jax.planning.gpus import GPUS
from teacherlm_jax.training.flops import peak

# Published bytes per second between memory and cores, by the prefix of `device_kind` in JAX. The
# first prefix that matches is used.
BANDWIDTHS = {
    "NVIDIA A100-PCIE-40GB": 1.555e12,
    "NVIDIA A100 80GB PCIe": 1.935e12,
    "NVIDIA H100 PCIe": 2.0e12,
    "NVIDIA H100 NVL": 3.9e12,
    "NVIDIA L40": 864e9,  # and L40S
    **{gpu.kind: gpu.bandwidth for gpu in GPUS.values()},
}

Figures = dict[str, Any]  # of one case, JSON-serializable


@dataclasses.dataclass(frozen=True)
class Case:
    """A measurement.

    Attributes:
        name: model and sizes; it says how the model differs from its published shape.
        measure: function that returns the figures.
        least: seconds that must be left for it.
    """

    name: str
    measure: Callable[[], Figures]
    least: float = 0.0


class NotMeasured(Exception):
    """The machine lacks what a case needs; the message says what."""


@dataclasses.dataclass(frozen=True)
class Card:
    """The device, with its published figures; None where they are not known, as for a CPU."""

    kind: str
    peak: float | None
    bandwidth: float | None

    @classmethod
    def first(cls) -> "Card":
        """Return the first device of JAX."""
        return cls.named(jax.devices()[0].device_kind)

    @classmethod
    def named(cls, kind: str) -> "Card":
        """Return the device of a `device_kind`."""
        prefixes = (size for name, size in BANDWIDTHS.items() if kind.startswith(name))
        return cls(kind, peak(kind), next(prefixes, None))

    def compute_share(self, flops: float, seconds: float) -> float | None:
        """Return the share of the peak that `flops` in `seconds` are."""
        return flops / seconds / self.peak if self.peak else None

    def memory_share(self, size: float, seconds: float) -> float | None:
        """Return the share of the bandwidth that reading `size` bytes in `seconds` is."""
        return size / seconds / self.bandwidth if self.bandwidth else None


class Measurements:
    """Figures of all cases, in a file that is replaced after each of them."""

    def __init__(self, output: Path, description: Figures):
        """Write the file with the description of the machine and no figures.

        Args:
            output: the JSON file.
            description: machine, versions and sizes.
        """
        self._output, self._began = output, time.monotonic()
        self.result: Figures = {**description, "parts": {}}
        self._write()

    def run(self, part: str, cases: Iterable[Case], until: float) -> None:
        """Measure the cases of a part; record those that are skipped or that fail.

        A case is skipped if less time is left than it needs at least, or than the longest case of
        this part has taken.

        Args:
            part: name of the part.
            cases: the cases, the most important ones first.
            until: seconds from the beginning of the benchmark after which no case starts.
        """
        records: list[Figures] = []
        self.result["parts"][part] = {"cases": records}
        longest, started = 0.0, self._elapsed()
        for case in cases:
            began = self._elapsed()
            left, needed = until - began, max(longest, case.least)
            if left <= needed:
                figures: Figures = {
                    "skipped": f"{max(0.0, left):.0f} s are left, a case takes {needed:.0f} s"
                }
            else:
                figures = _measured(case)
                figures["seconds"] = self._elapsed() - began
                longest = max(longest, figures["seconds"])
            records.append({"name": case.name, **figures})
            self.result["parts"][part]["seconds"] = self._elapsed() - started
            print(f"{part}: {_line(records[-1])}", flush=True)
            self._write()

    def cases(self, part: str) -> list[Figures]:
        """Return the cases of a part that were measured; none if it was not run."""
        records = self.result["parts"].get(part, {"cases": []})["cases"]
        return [record for record in records if "skipped" not in record and "failed" not in record]

    def complete(self, part: str) -> bool:
        """Return whether all cases of a part were measured."""
        records = self.result["parts"].get(part, {"cases": []})["cases"]
        return bool(records) and len(self.cases(part)) == len(records)

    @property
    def failures(self) -> int:
        """Return the number of cases that failed."""
        parts = self.result["parts"].values()
        return sum("failed" in record for part in parts for record in part["cases"])

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _write(self) -> None:
        self.result["seconds"] = self._elapsed()
        self._output.parent.mkdir(parents=True, exist_ok=True)
        partial = self._output.with_suffix(".partial")
        partial.write_text(json.dumps(self.result, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, self._output)


def _measured(case: Case) -> Figures:
    """Return the figures of a case, or the reason why it failed or was not measured.

    `peak_bytes` is the most memory that the process has used so far, in this or an earlier case:
    the allocator's peak cannot be reset.
    """
    try:
        figures = dict(case.measure())
    except NotMeasured as reason:
        figures = {"skipped": str(reason)}
    except Exception as error:  # the other cases must not be lost, and the reason is recorded
        kind = "out of memory" if is_out_of_memory(error) else type(error).__name__
        figures = {"failed": f"{kind}: {one_line(error)[:500]}"}
    figures["peak_bytes"] = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    gc.collect()
    jax.clear_caches()
    return figures


def mesh() -> Mesh:
    """Return the mesh of one device."""
    return sharding.make_mesh(MeshConfig(data=1), jax.devices()[:1])


def seconds_per_call(call: Callable[[], Any], least: float = 1.0, most: int = 50) -> float:
    """Return the mean seconds of a call in a row of calls, after two that do not count.

    Args:
        call: starts work on the device and returns its results; the device works in order.
        least: seconds after which no more calls are made.
        most: most calls.
    """
    jax.block_until_ready(call())
    began = time.perf_counter()
    jax.block_until_ready(call())
    calls = max(1, min(most, int(least / max(1e-6, time.perf_counter() - began))))
    began = time.perf_counter()
    results = None
    for _ in range(calls):
        results = call()
    jax.block_until_ready(results)
    return (time.perf_counter() - began) / calls


def program_bytes(program: jax.stages.Compiled) -> int:
    """Return the bytes that a compiled program needs: arguments, results and temporary memory."""
    sizes = program.memory_analysis()
    return (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        + sizes.temp_size_in_bytes
        - sizes.alias_size_in_bytes
    )


def _line(record: Figures) -> str:
    for key in ("skipped", "failed"):
        if key in record:
            return f"{record['name']}: {key}: {record[key]}"
    shown = (f"{key} {value:.4g}" for key, value in record.items() if isinstance(value, float))
    return f"{record['name']}: {', '.join(shown)}"
