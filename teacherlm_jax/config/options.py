"""Command-line options of commands, which belong to no config."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, location, number, plain, required, words


@dataclasses.dataclass
class PlanOptions:
    """The slice or GPUs to plan for, and facts about data and teachers that do not exist."""

    topology: str = required(
        help="TPU slice or GPUs to plan for, such as v5e:8x8, v5p:4x4x8, gpu:4090 or gpu:h100x8"
    )
    fits: bool = plain(
        False,
        help="for GPUs, without a config: show which published models fit, to be trained (all "
        "parameters, or LoRA) and to write explanations (bfloat16, or int8)",
    )
    length: int = at_least(
        0,
        0,
        help="tokens of a packed row, or of the longest prompt; 0: from the data or the config if "
        "they have it, else 2048",
    )
    model: str = plain(
        "",
        help="for an annotation whose teacher does not exist: published model shape, such as "
        "bloom-7b1; empty: the teacher's",
    )
    rows: int = at_least(
        0,
        0,
        help="for an annotation: number of rows of the dataset, for the hours that they take; "
        "0: only the speed",
    )
    advise: bool = plain(
        False,
        help="for a TPU slice: if it does not fit, compile suggested settings until one fits",
    )
    calibration: str = plain(
        "",
        help="for GPUs: JSON file of `make bench-gpu` on such a GPU, whose measured speed replaces "
        "the assumed one",
    )

    @property
    def without_config(self) -> bool:
        """Return whether the command takes no config."""
        return self.fits

    @property
    def instead_of_config(self) -> str:
        """Return the option that a command without a config may add; empty if it needs one."""
        return "--fits" if self.topology.startswith("gpu:") else ""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        for key in ("model", "rows", "advise", "calibration"):
            if self.fits and getattr(self, key):
                yield key, "has no effect with --fits; leave it out"


@dataclasses.dataclass
class DryRunOptions:
    """A dry run, and a TPU slice or GPUs that it also estimates."""

    dry_run: bool = plain(
        False,
        help="show what the run would do, with estimated hours, and write nothing. For an "
        "annotation: rows, prompts, compiled programs and memory; a few prompts are generated to "
        "measure the speed. For a pipeline: every command with its slice, hours, chip-hours and "
        "storage, estimated from sizes",
    )
    topology: str = plain(
        "",
        help="with --dry_run: estimate the hours on this TPU slice or these GPUs, such as v5e:4x4 "
        "or gpu:h100x8, in place of the slices of a pipeline's steps",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.topology and not self.dry_run:
            yield "topology", f"{self.topology!r} needs --dry_run; add it, or use `teacherlm plan`"


@dataclasses.dataclass
class PipelineOptions:
    """The part of a pipeline to run or show, and how."""

    until: str = plain(
        "",
        help="run only this step, named as in --status, and the steps that it needs; a later call "
        "continues from there",
    )
    from_: str = plain(
        "", help="run only this step and the steps that need it; those before it must be finished"
    )
    processes: int = at_least(
        1, 1, help="most steps to run at the same time; steps that need each other never do"
    )
    retries: int = at_least(0, 0, help="times that a step that fails is started again")
    status: bool = plain(False, help="print the steps and which of them are finished, and run none")
    graph: str = plain(
        "",
        help="draw the steps and what they need, and run none: 'text' prints them, FILE.svg is "
        "written",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for values that cannot be used."""
        if self.graph not in ("", "text") and not self.graph.endswith(".svg"):
            yield "graph", f"expected 'text' or the name of an SVG file, got {self.graph!r}"


@dataclasses.dataclass
class SweepOptions:
    """Points of the config file's `sweep()` to run or show; see `teacherlm_jax.cli.sweep`."""

    sweep_index: int = at_least(
        -1,
        -1,
        unset=-1,
        help="run this point of the sweep, counted from 0; the function sweep() of the config file "
        "defines the points (see docs/how-to/sweep.md)",
    )
    sweep_all: bool = plain(False, help="run all points of the sweep, one after the other")
    sweep_list: bool = plain(False, help="print the points of the sweep and run none")
    sweep_results: bool = plain(
        False, help="print the results of the finished points, and write them to OUTPUT/sweep.csv"
    )

    @property
    def used(self) -> bool:
        """True if the command line runs or shows points of a sweep."""
        return self.sweep_index >= 0 or self.sweep_all or self.sweep_list or self.sweep_results

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if (self.sweep_index >= 0) + self.sweep_all + self.sweep_list + self.sweep_results > 1:
            yield (
                "sweep_index",
                "give only one of --sweep_index, --sweep_all, --sweep_list and --sweep_results",
            )


@dataclasses.dataclass
class StatusOptions:
    """Runs to look at, and the form of the answer."""

    runs: tuple[str, ...] = words("RUN", help="run folder, or a folder of runs, also in a bucket")
    watch: bool = plain(
        False, help="show the status again every few seconds, until all runs are finished"
    )
    every: float = number(5.0, limits="[1, 3600]", help="with --watch: seconds between two looks")
    json: bool = plain(
        False, help="print JSON: a list with one object per run; with --watch, one list per line"
    )


@dataclasses.dataclass
class DoctorOptions:
    """The folder of runs and the clock to examine besides this machine, and the time for it."""

    folder: str = location(
        "runs",
        local=True,
        help="folder where runs go; for one in a bucket, a small object is written, read, listed "
        "and deleted",
    )
    server: str = plain(
        "", help="server whose clock is compared, such as https://www.google.com; empty: the bucket"
    )
    seconds: float = number(
        10.0,
        limits="[0, 10]",
        help="seconds of matrix products on the accelerator, or at most 5 on a CPU; 0: none",
    )
    json: bool = plain(False, help="print JSON instead of a table")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.server and not self.server.startswith(("http://", "https://")):
            yield "server", f"expected an address that begins with https://, got {self.server!r}"
