"""Settings of pipelines: steps, each of which is a command, with the paths that they read."""

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from teacherlm_jax.config.fields import (
    at_least,
    choice,
    location,
    locations,
    number,
    plain,
    required,
)

_STEP_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


@dataclasses.dataclass
class StepConfig:
    """One step of a pipeline: a command, the paths that it reads, and its run folder."""

    name: str = required(help="name for --until, --from and --status; may contain /")
    title: str = required(help="title in the log")
    verb: str = required(help="command to run")
    config: str = plain("", help="its config, as in FILE.py:VARIANT; empty: none")
    arguments: tuple[str, ...] = plain(
        (), help="further arguments of the command, such as --sweep_all or --config.KEY=VALUE"
    )
    inputs: tuple[str, ...] = locations(
        help="files and folders that the step reads. It runs after the steps in whose outputs they "
        "are, and again if one of them has changed"
    )
    output: str = location(required=True, help="run folder of the step")
    planned: str = plain(
        "",
        help="config for --dry_run and for the check before the first step, if `config` needs data "
        "that an earlier step prepares; empty: `config`",
    )
    slice: str = plain("", help="TPU slice that --dry_run estimates, such as v5e:8x8; empty: none")
    step_seconds: float = at_least(
        0,
        0.0,
        help="for --dry_run: seconds of a training step on the slice, from `plan`; 0: estimated",
    )
    rows: int = at_least(
        0,
        0,
        help="for --dry_run: rows or questions that the step reads, of a sweep by all its points",
    )
    tokens: float = at_least(
        0,
        0.0,
        help="for --dry_run: tokens of a prompt, if the step explains or evaluates, or of all "
        "texts that it prepares",
    )

    @property
    def words(self) -> tuple[str, ...]:
        """The command line after `teacherlm`."""
        return self._words(self.config)

    @property
    def planned_words(self) -> tuple[str, ...]:
        """The command line that can be checked before the data of the step exist."""
        return self._words(self.planned or self.config)

    def _words(self, config: str) -> tuple[str, ...]:
        return self.verb, *((f"--config={config}",) if config else ()), *self.arguments


@dataclasses.dataclass
class PipelineConfig:
    """Commands in sequence, each with its own config and run folder."""

    output: str = location(required=True, help="run folder; the steps write below it")
    steps: tuple[StepConfig, ...] = plain((), help="the steps, each after those that it needs")
    generated: str = choice(
        *("", "paper"),
        help="write generated files in the layouts of the paper's data to OUTPUT/data before the "
        "first step, for tests of a pipeline",
    )

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """Names of the steps that each step needs, by name."""
        return needs(self.steps)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if not self.steps:
            yield "steps", "empty; name at least one StepConfig"
        seen: dict[str, int] = {}
        for index, step in enumerate(self.steps):
            if not _STEP_NAME.fullmatch(step.name):
                yield (
                    f"steps[{index}].name",
                    f"{step.name!r} cannot name a step; use letters, digits, _, -, . and /",
                )
            if step.name in seen:
                yield f"steps[{index}].name", f"two steps have the name {step.name!r}; change one"
            seen[step.name] = index
            if not step.output.startswith(f"{self.output}/"):
                move = f"--config=FILE.py:root={self.output}"
                yield "output", f"the steps write to {step.output}; move all of them with {move}"
                return
        for name, before in self.needs.items():
            for other in before:
                if seen[other] >= seen[name]:
                    why = f"reads the output of {other!r}, which is not before it in the list"
                    yield f"steps[{seen[name]}].inputs", f"{name!r} {why}; list it later"


def needs(steps: Sequence[StepConfig]) -> dict[str, tuple[str, ...]]:
    """Return the names of the steps whose outputs each step reads, by its name, in their order."""
    owners = {os.path.normpath(step.output): step.name for step in steps}
    order = {step.name: index for index, step in enumerate(steps)}
    found = {}
    for step in steps:
        read = {owner for path in step.inputs if (owner := _owner(path, owners))}
        found[step.name] = tuple(sorted(read, key=order.__getitem__))
    return found


def _owner(path: str, owners: Mapping[str, str]) -> str:
    """Return the name of the step whose output contains a path; empty if there is none."""
    path = os.path.normpath(path)
    while path not in owners:
        parent = os.path.dirname(path)
        if parent in (path, ""):
            return ""
        path = parent
    return owners[path]


@dataclasses.dataclass
class QuickstartConfig(PipelineConfig):
    """A pipeline of commands on generated samples."""

    report: str = location(help="run folder of the step that writes the report")
    train_samples: int = at_least(1, 1000, help="generated samples with explanations")
    unlabelled_samples: int = at_least(
        1, 100, help="generated samples without explanations, which teachers explain"
    )
    test_samples: int = at_least(1, 100, help="generated samples for evaluation")
    seed: int = number(0, limits="[0, 2147483647]", help="seed of the generated samples")
