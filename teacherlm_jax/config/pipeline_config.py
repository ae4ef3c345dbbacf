"""What joins runs: reports, and the whole flow at once."""

import dataclasses
import glob
import os
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, location, number, required
from teacherlm_jax.config.names import PLAIN_FORMATS


@dataclasses.dataclass
class ReportConfig:
    """Tables and figures of all the runs below a folder, or of one data set."""

    output: str = location()  # empty: beside the data, see `folder`
    root: str = location(local=True)  # holds the runs
    title: str = "TeacherLM"
    # samples (file, glob or folder), an annotation's run folder, or what `prepare` wrote
    data: str = location(local=True, short=True)
    format: str = choice(*PLAIN_FORMATS)  # of the data's rows, where they are samples
    vocabulary: str = location(
        local=True
    )  # folder of what counts tokens; empty: the one found at the data

    @property
    def folder(self) -> str:
        """The run folder: `output`, or where that is empty the data's path and `.report`."""
        return self.output or f"{self.data.rstrip('/')}.report"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if bool(self.root) == bool(self.data):
            yield "root", "give it for the runs below a folder, or --data for one data set"
        if not self.output and (self.root or glob.has_magic(self.data)):
            yield "output", "empty; name the report's folder, as in --config.output=runs/report"
        if not self.data:
            for key in ("format", "vocabulary"):
                if getattr(self, key) != getattr(ReportConfig, key):
                    yield key, "is for --data alone; leave it out"
        # told here, before a report's folder is made beside what is not there
        elif not (os.path.exists(self.data) or glob.glob(self.data)):
            yield "data", f"{self.data}: no file matches, and no folder has this name"


@dataclasses.dataclass
class StepConfig:
    """One step of a pipeline: a verb with one variant of the pipeline's own config file."""

    title: str = required()
    verb: str = required()
    variant: str = required()
    output: str = location(required=True)  # the step's run folder


@dataclasses.dataclass
class QuickstartConfig:
    """Generated samples, then a pipeline of verbs over them."""

    output: str = location(required=True)
    file: str = location(required=True)  # config file whose variants the steps name
    steps: tuple[StepConfig, ...] = ()
    report: str = location(required=True)  # run folder of the step that reports
    train_samples: int = at_least(1, 1000)
    unlabelled_samples: int = at_least(1, 100)
    test_samples: int = at_least(1, 100)
    seed: int = number(0, limits="[0, 2147483647]")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        for step in self.steps:
            if not step.output.startswith(f"{self.output}/"):
                mend = f"--config={self.file}:root={self.output}"
                yield "output", f"the steps write to {step.output}; move all of them with {mend}"
                return
