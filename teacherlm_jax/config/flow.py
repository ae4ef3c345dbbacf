"""What joins runs: reports, and the whole flow at once."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.fields import at_least, number, required


@dataclasses.dataclass
class ReportConfig:
    """Tables and figures of all the runs below a folder."""

    output: str = required()
    root: str = required()
    title: str = "TeacherLM"


@dataclasses.dataclass
class StepConfig:
    """One step of a pipeline: a verb with one variant of the pipeline's own config file."""

    title: str = required()
    verb: str = required()
    variant: str = required()
    output: str = required()  # the step's run folder


@dataclasses.dataclass
class QuickstartConfig:
    """Generated samples, then a pipeline of verbs over them."""

    output: str = required()
    file: str = required()  # config file whose variants the steps name
    steps: tuple[StepConfig, ...] = ()
    report: str = required()  # run folder of the step that reports
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
