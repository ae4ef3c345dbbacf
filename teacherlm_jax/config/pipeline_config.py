"""Settings of `report` and `quickstart`, which combine several runs."""

import dataclasses
import glob
import os
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, location, number, plain, required
from teacherlm_jax.config.names import PLAIN_FORMATS


@dataclasses.dataclass
class ReportConfig:
    """Tables and figures of all runs below a folder, or of one dataset."""

    output: str = location(
        help="folder of the report; with --data, empty means the path of the data plus '.report'"
    )
    root: str = location(local=True, help="folder that holds the runs to report")
    title: str = plain("TeacherLM", help="title of the page")
    paper: bool = plain(
        False,
        short=True,
        help="write the paper's tables beside the runs that stand for their cells, and the "
        "commands that fill the empty cells, instead of all runs",
    )
    data: str = location(
        local=True,
        short=True,
        help="report one dataset: samples (file, glob or folder), the run folder of an "
        "annotation, or the output of `prepare`",
    )
    format: str = choice(
        *PLAIN_FORMATS, help="layout of the rows of --data; other layouts have to be prepared first"
    )
    vocabulary: str = location(
        local=True,
        hub=True,
        help="vocabulary (tokenizer) used to count the tokens of --data: a vocabulary or Hugging "
        "Face tokenizer folder, or hf://org/name[@revision]; empty: the one next to the data",
    )

    @property
    def folder(self) -> str:
        """Run folder: `output`, or the path of the data plus `.report` if that is empty."""
        return self.output or f"{self.data.rstrip('/')}.report"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if not (self.root or self.data):
            yield (
                "root",
                "empty; set it to report the runs below a folder, or set --data for a dataset",
            )
        if self.root and self.data:
            yield "root", f"{self.root}, but --data={self.data} is set too; leave one of them out"
        if self.paper and self.data:
            yield "paper", "set, but --data reports one dataset; leave one of them out"
        if not self.output and (self.root or glob.has_magic(self.data)):
            yield "output", "empty; name the report's folder, as in --config.output=runs/report"
        if not self.data:
            for key in ("format", "vocabulary"):
                if getattr(self, key) != getattr(ReportConfig, key):
                    yield key, "works only with --data; leave it out"
        # Checked here, before a report's folder is created beside data that does not exist.
        elif not ("://" in self.data or os.path.exists(self.data) or glob.glob(self.data)):
            yield "data", f"{self.data}: no such file or folder"


@dataclasses.dataclass
class StepConfig:
    """One step of a pipeline: a command with one variant of the pipeline's own config file."""

    title: str = required(help="title in the log")
    verb: str = required(help="command to run")
    variant: str = required(help="variant of the config file")
    output: str = location(required=True, help="run folder of the step")


@dataclasses.dataclass
class QuickstartConfig:
    """A pipeline of commands on generated samples."""

    output: str = location(required=True, help="run folder; the steps write below it")
    file: str = location(required=True, help="config file with the variants of the steps")
    steps: tuple[StepConfig, ...] = plain((), help="the steps, in order")
    report: str = location(required=True, help="run folder of the step that writes the report")
    train_samples: int = at_least(1, 1000, help="generated samples with explanations")
    unlabelled_samples: int = at_least(
        1, 100, help="generated samples without explanations, which teachers explain"
    )
    test_samples: int = at_least(1, 100, help="generated samples for evaluation")
    seed: int = number(0, limits="[0, 2147483647]", help="seed of the generated samples")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        for step in self.steps:
            if not step.output.startswith(f"{self.output}/"):
                move = f"--config={self.file}:root={self.output}"
                yield "output", f"the steps write to {step.output}; move all of them with {move}"
                return
