"""Steps of a pipeline, each of which is a run, or a folder of the runs of a sweep."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.errors import ExplainedError
from teacherlm_jax.runs import layout
from teacherlm_jax.status import run_folders, run_state
from teacherlm_jax.status.run_files import RunFiles
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.wording import counted

_STAR = "star"

StateOf = Callable[[epath.Path, float], tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class StepStatus:
    """The status of a step.

    Attributes:
        name: its name, or that of its folder.
        title: what it does.
        state: a state as in `run_state`; a step that has not begun waits.
        detail: its progress or its error in a few words.
    """

    name: str
    title: str
    state: str
    detail: str


def read_steps(
    run: RunFiles, verb: str, config: Mapping[str, Any], state_of: StateOf
) -> tuple[StepStatus, ...]:
    """Return the steps of a pipeline in their order; none for another run.

    Args:
        run: files of the pipeline.
        verb: its command.
        config: its settings.
        state_of: returns the state of the run in a folder, and its progress or error.
    """
    if verb == _STAR:
        return tuple(_rounds(run, state_of))
    steps = config.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return ()
    return tuple(_configured(run, config, steps, state_of))


def _configured(
    run: RunFiles, config: Mapping[str, Any], steps: list[dict[str, Any]], state_of: StateOf
) -> Iterator[StepStatus]:
    """Yield the steps that the settings of a pipeline name."""
    records = run.json(layout.STEP_RECORDS)
    for step in steps:
        output = str(step.get("output") or "")
        folder = _moved(output, str(config.get("output") or ""), run.folder)
        name = str(step.get("name") or step.get("variant") or folder.name).partition(",")[0]
        state, detail = run_state.WAITING, ""
        if output:
            try:
                state, detail = _state(folder, run.skew, state_of)
            except ExplainedError as error:
                state, detail = run_state.UNREADABLE, str(error)
        record = records.get(name)
        if isinstance(record, dict) and "failed" in record:
            # The command, or that of a point of its sweep, was refused before it made a run folder.
            refused = f"exit status {record['failed']}"
            if state == run_state.WAITING:
                state, detail = run_state.FAILED, refused
            elif state == run_state.FINISHED and not run_folders.is_run(folder):
                state, detail = run_state.FAILED, f"{detail}; {refused}"
        yield StepStatus(name, str(step.get("title", "")), state, detail)


def _moved(path: str, before: str, folder: epath.Path) -> epath.Path:
    """Return the path of a step's folder, in the folder in which the pipeline is now."""
    inside = path.removeprefix(before.rstrip("/"))
    if before and inside != path:
        return folder / inside.strip("/") if inside.strip("/") else folder
    return StoragePath(path)


def _state(folder: epath.Path, skew: float, state_of: StateOf) -> tuple[str, str]:
    """Return the state of a step: that of its run, or of the runs of its sweep together."""
    if not files.is_folder(folder):
        return run_state.WAITING, ""
    if run_folders.is_run(folder):
        return state_of(folder, skew)
    below = run_folders.runs_below(folder).outermost()
    counts = Counter(state_of(run, skew)[0] for run in below.runs)
    counts.update({run_state.UNREADABLE: len(below.refused)} if below.refused else {})
    if not counts:
        return run_state.WAITING, ""
    state = next(name for name in run_state.STATES if name in counts)
    if state != run_state.RUNNING and run_state.FAILED in counts:
        state = run_state.FAILED
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return state, f"{counted(counts.total(), 'run')} of a sweep: {shown}"


def _rounds(run: RunFiles, state_of: StateOf) -> Iterator[StepStatus]:
    """Yield the runs in the rounds of `star`, in the order in which they are made."""
    below = run_folders.runs_below(run.folder)
    for folder in sorted([*below.runs, *below.refused], key=_order):
        name = str(folder).removeprefix(str(run.folder)).strip("/")
        if folder in below.refused:
            yield StepStatus(name, "", run_state.UNREADABLE, below.refused[folder])
        else:
            yield StepStatus(name, "", *state_of(folder, run.skew))


def _order(folder: epath.Path) -> tuple[int, int]:
    """Return the number of a step's round, and its place in that round."""
    order = ("attempts", "rationalizations", "data", "model", "test")
    number = folder.parent.name.rpartition("-")[2]
    place = order.index(folder.name) if folder.name in order else len(order)
    return int(number) if number.isdigit() else 0, place
