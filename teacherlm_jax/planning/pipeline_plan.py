"""A dry run of a pipeline: every command, with what it needs, and totals; nothing is run.

Hours and storage are estimates from sizes, except where a config has the time of a compiled step.
"""

import collections
import dataclasses
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from teacherlm_jax.config import (
    DryRunOptions,
    EvaluateConfig,
    ModelConfig,
    PipelineConfig,
    QuickstartConfig,
    StepConfig,
    TrainConfig,
)
from teacherlm_jax.models import registry
from teacherlm_jax.planning import step_estimate
from teacherlm_jax.planning import topology as topologies
from teacherlm_jax.planning.step_estimate import COMPILED, StepEstimate
from teacherlm_jax.planning.topology import Topology
from teacherlm_jax.storage import files
from teacherlm_jax.storage.locations import is_elsewhere
from teacherlm_jax.wording import counted

_NOTE = """\
Hours are lower bounds: every chip at its published peak, no input, validation, checkpoints or
restarts. "compiled" are steps whose time `plan` got from the compiled program; "estimated" are
hours from model FLOPs (and bytes, to decode) alone. Data that do not exist yet have the size that
the config of the pipeline assumes. Storage is estimated: checkpoints that are kept, with the
optimizer's state; packed rows; texts. Hours without chips are those of a CPU with two cores.
"""


@dataclasses.dataclass(frozen=True)
class PlannedStep:
    """A step with its slice and what it needs."""

    step: StepConfig
    slice: Topology | None
    estimate: StepEstimate


def dry_run(
    config: PipelineConfig, options: DryRunOptions, configs: Mapping[str, Sequence[Any]]
) -> str:
    """Return every command of a pipeline with its estimates, and totals.

    `configs` are the configs of each step, by its name. Raises UserError for an unknown slice
    or GPU.
    """
    planned = plan(config, options.topology, configs)
    lines = [line for index, one in enumerate(planned, 1) for line in _lines(one, index, planned)]
    lines += ["== totals", "", *_totals(planned)]
    if any(one.estimate.hours for one in planned):
        lines += ["", *_longest(config, planned), "", _NOTE.rstrip()]
    missing = _missing(config)
    if missing:
        lines += ["", "not there yet, and no step writes it:", *(f"  {path}" for path in missing)]
    return "\n".join(lines)


def plan(
    config: PipelineConfig, topology: str, configs: Mapping[str, Sequence[Any]]
) -> list[PlannedStep]:
    """Return the steps of a pipeline with estimates; `topology` replaces the slices of steps."""
    slices = {
        name: topologies.parse(name)
        for name in {topology, *(step.slice for step in config.steps)}
        if name
    }
    shapes: dict[str, ModelConfig] = {}
    planned = []
    for step in config.steps:
        own = configs[step.name]
        name = (topology if step.slice else "") or step.slice
        if isinstance(own[0], TrainConfig):
            shapes[os.path.normpath(step.output)] = own[0].model
        model = _shape(step, own[0], shapes)
        tpu_slice = slices.get(name)
        needed = step_estimate.estimate(step, own, tpu_slice, model)
        planned.append(PlannedStep(step, tpu_slice if needed.chips else None, needed))
    return planned


def _shape(step: StepConfig, config: Any, shapes: Mapping[str, ModelConfig]) -> ModelConfig | None:
    """Return the shape of the model that a step reads; None if it is not known."""
    for path in step.inputs:
        if (known := shapes.get(os.path.normpath(path))) and known.vocab_size:
            return known
    name = os.path.basename(config.model) if isinstance(config, EvaluateConfig) else ""
    name = f"{name}-176b" if name == "bloom" else name
    return registry.shape(name) if name in registry.SHAPES else None


def _lines(one: PlannedStep, number: int, planned: Sequence[PlannedStep]) -> Iterator[str]:
    step, needed = one.step, one.estimate
    yield f"== {number}/{len(planned)}  {step.name}: {step.title}"
    yield f"$ teacherlm {shlex.join(step.words)}"
    where = _where(one.slice) if one.slice else "CPU"
    facts = [where]
    if needed.hours is not None:
        facts.append(f"{hours(needed.hours)} ({needed.basis})")
    if needed.chips:
        one_of_them = topologies.unit(one.slice) if one.slice else "chip"
        facts.append(f"{needed.chip_hours:,.1f} {one_of_them}-hours")
    if needed.storage is not None:
        facts.append(size(needed.storage))
    yield "; ".join(facts)
    if needed.problem:
        yield f"problem: {needed.problem}"
    yield ""


def _where(wanted: Topology) -> str:
    return f"{wanted.name}, {counted(wanted.chips, topologies.unit(wanted))}"


def _totals(planned: Sequence[PlannedStep]) -> list[str]:
    """Return a table of the steps by command and slice."""
    groups: dict[tuple[str, str], list[StepEstimate]] = collections.defaultdict(list)
    for one in planned:
        groups[one.step.verb, one.slice.name if one.slice else "CPU"].append(one.estimate)
    units = {topologies.unit(one.slice) for one in planned if one.slice} or {"chip"}
    unit = units.pop() if len(units) == 1 else "device"
    rows: list[tuple[str, ...]] = [
        ("command", "slice", "steps", "hours", f"{unit}-hours", "storage", "hours compiled")
    ]
    rows += [_row(verb, name, found) for (verb, name), found in groups.items()]
    rows.append(_row("all", "", [one.estimate for one in planned]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if index < 2 else f"{cell:>{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(verb: str, name: str, found: Sequence[StepEstimate]) -> tuple[str, ...]:
    total = sum(one.hours or 0.0 for one in found)
    compiled = sum(one.hours or 0.0 for one in found if one.basis == COMPILED)
    return (
        verb,
        name,
        f"{len(found):,}",
        f"{total:,.1f}",
        f"{sum(one.chip_hours for one in found):,.0f}",
        size(sum(one.storage or 0.0 for one in found)),
        f"{compiled / total:.0%}" if total else "-",
    )


def _longest(config: PipelineConfig, planned: Sequence[PlannedStep]) -> list[str]:
    """Return a sentence on the hours if every step begins when those that it needs are done."""
    needs, ends = config.needs, dict[str, float]()
    before: dict[str, str] = {}
    for one in planned:
        name = one.step.name
        last = max(needs[name], key=ends.__getitem__, default="")
        before[name] = last
        ends[name] = (ends[last] if last else 0.0) + (one.estimate.hours or 0.0)
    name = max(ends, key=ends.__getitem__)
    longest = f"{hours(ends[name])} if all steps that can run side by side do:"
    way: list[str] = []
    while name:
        way.insert(0, name)
        name = before[name]
    return [longest, f"  {' -> '.join(way)}"]


def _missing(config: PipelineConfig) -> list[str]:
    """Return the inputs on this machine or in a bucket that do not exist and no step writes.

    Generated samples are below the output.
    """
    outputs = tuple(f"{os.path.normpath(step.output)}/" for step in config.steps)
    inputs = dict.fromkeys(path for step in config.steps for path in step.inputs)
    generates = config.generated or isinstance(config, QuickstartConfig)
    missing = {
        os.path.normpath(path): path
        for path in inputs
        if not f"{os.path.normpath(path)}/".startswith(outputs)
        and not (generates and path.startswith(f"{config.output}/"))
        and not is_elsewhere(path)
        and not files.exists(path)
    }
    return [path for name, path in missing.items() if os.path.dirname(name) not in missing]


def hours(number: float) -> str:
    """Return hours as text, in minutes if they are few."""
    return f"{number:,.1f} hours" if number >= 1 else f"{60 * number:,.1f} minutes"


def size(number: float) -> str:
    """Return bytes as text."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"
