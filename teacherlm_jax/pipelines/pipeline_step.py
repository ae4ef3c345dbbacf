"""One step of a pipeline."""

import dataclasses
import functools
import shlex
from collections.abc import Callable, Mapping, Sequence

from etils import epath

from teacherlm_jax.config import StepConfig
from teacherlm_jax.pipelines import step_digests
from teacherlm_jax.pipelines.step_records import (
    CHANGED,
    FAILED,
    FINISHED,
    STARTED,
    UNKNOWN,
    StepDigests,
    StepRecords,
)
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a pipeline.

    Attributes:
        name: name for `--until`, `--from` and `--status`, unique in the pipeline.
        title: what the step does, for the log.
        output: file that exists if and only if the step is finished, or the run folder of a step
            whose inputs are compared.
        work: function that does the work here, or resumes it; None: it is a command.
        words: function that returns the words of the command that does the work.
        environment: variables of the command that win over those of all steps.
        needed: function that returns False if there is nothing to do; called when all steps that
            this one needs are finished.
        repeats: the step is done in every call.
        after: names of the steps that this one needs.
        digests: function that returns what identifies the step; None: it is not compared.
        inputs: paths that the step reads and no other step writes.
        verb: its command; empty if it is none.
    """

    name: str
    title: str
    output: epath.Path
    work: Callable[[Run], None] | None = None
    words: Callable[[Run], Sequence[str]] | None = None
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    needed: Callable[[], bool] = lambda: True
    repeats: bool = False
    after: tuple[str, ...] = ()
    digests: Callable[[], StepDigests] | None = None
    inputs: tuple[str, ...] = ()
    verb: str = ""

    @property
    def finished(self) -> bool:
        """True if the step has its output, and needs no more work unless an input has changed."""
        if self.digests is None:
            return files.exists(self.output)
        return step_digests.of_results(self.output) != step_digests.MISSING

    @property
    def folder(self) -> epath.Path:
        """The run folder, for messages."""
        return self.output.parent if self.digests is None else self.output

    def changes(self, records: StepRecords) -> list[str] | None:
        """Return what has changed since a finished step ran; None if that is not known."""
        return [] if self.digests is None else records.changes(self.name, self.digests())

    def state(self, records: StepRecords) -> str:
        """Return the state of the step in one word, "-" if it has not begun or is not known."""
        if records.failure(self.name) is not None and not (self.digests is None and self.finished):
            return FAILED
        if self.finished:
            changes = self.changes(records)
            return UNKNOWN if changes is None else CHANGED if changes else FINISHED
        begun = self.digests is not None and files.exists(self.output / layout.CONFIG)
        return STARTED if begun else UNKNOWN


def of_config(
    step: StepConfig, after: tuple[str, ...], environment: Mapping[str, str], own: Sequence[str]
) -> Step:
    """Return the step of a config.

    Args:
        step: the config.
        after: names of the steps that it needs.
        environment: variables of its command.
        own: its inputs that no step writes.
    """
    return Step(
        name=step.name,
        title=step.title,
        output=StoragePath(step.output),
        words=lambda run: step.words,
        environment=environment,
        repeats=step.verb == "report",
        after=after,
        digests=functools.partial(_digests, step),
        inputs=tuple(own),
        verb=step.verb,
    )


def _digests(step: StepConfig) -> StepDigests:
    """Return what identifies a step; its config file is one of the inputs."""
    file = step.config.partition(":")[0]
    inputs = {file: step_digests.of_path(file)} if file else {}
    inputs |= {path: step_digests.of_path(path) for path in step.inputs}
    output = step_digests.of_results(StoragePath(step.output))
    return StepDigests(shlex.join(step.words), inputs, output)
