"""Settings of the paper's experiment, and the paths that its steps share."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from teacherlm_jax.config import FORMS, paper_models, variants
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.generated_data import OPT

SETTINGS = ("root", "data", "models", "students", "forms", "tasks", "server", "attention")
ALL_FORMS = (*FORMS, paper_models.ORIGINAL)
_TINY = "tiny"
_OF_THE_PAPER = "7b1"  # size of the teacher whose students are in the paper


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The teacher and the settings of an experiment; configs/paper.py explains the settings.

    Attributes:
        configs: folder of the configs of the steps.
        size: size of the teacher.
        tiny: toy models and generated data.
    """

    configs: str
    size: str
    tiny: bool
    root: str
    data: str
    models: str
    students: tuple[str, ...]
    forms: tuple[str, ...]
    tasks: tuple[str, ...]
    server: str
    attention: str

    @property
    def teacher(self) -> str:
        """Folder of the runs of the teacher."""
        return f"{self.root}/teacher/{self.size}"

    @property
    def explains(self) -> bool:
        """True unless the teacher is the largest, which explains nothing in the paper."""
        return self.size != paper_models.SIZES[-1]

    @property
    def label(self) -> tuple[str, ...]:
        """Argument of runs that stand for no cell of the paper."""
        of_paper = self.tiny or self.size == _OF_THE_PAPER
        return () if of_paper else ("--config.stands_for=none",)

    @property
    def explained(self) -> tuple[str, ...]:
        """Forms of multi-task students with explanations."""
        return tuple(form for form in self.forms if form != paper_models.ORIGINAL)

    @property
    def task_forms(self) -> tuple[str, ...]:
        """Forms of students of single tasks, of those authors whose explanations there are."""
        if self.tiny:
            return ("C", "C/human")
        forms = paper_models.SINGLE_TASK_FORMS
        return tuple(form for form in forms if self.server or not form.endswith("/davinci"))

    def toy_length(self, family: str) -> int:
        """Return the tokens of a row or question in the toy form, whose OPT has 128 positions."""
        return 128 if family == "opt" else 256

    def config(self, name: str, variant: str, **settings: str) -> str:
        """Return the config of a command: a file of the folder, its variant, and its settings."""
        given = [f"{key}={value}" for key, value in settings.items() if value]
        return f"{self.configs}/{name}.py:{','.join(filter(None, (variant, *given)))}"

    def model(self, name: str) -> str:
        """Return the path or address of a published model.

        In the toy form, the generated one for OPT; empty for BLOOM, which begins at random.
        """
        if self.tiny:
            return f"{self.data}/{OPT}" if name.startswith("opt") else ""
        return f"{self.models}/{name}" if self.models else paper_models.address(name)

    def vocabulary(self, family: str) -> str:
        """Return the tokenizer of a family; BLOOM's in the toy form is that of the first step."""
        if self.tiny and family == "bloom":
            return f"{self.root}/teacher/teacher_data/teacher_stage1/vocabulary"
        return self.model("opt-1.3b" if family == "opt" else "bloom-7b1")


def parse(variant: str, settings: Mapping[str, Any], configs: str) -> Experiment:
    """Return the experiment of a variant of configs/paper.py.

    Args:
        variant: a size of the teacher, or "tiny".
        settings: values of SETTINGS; empty ones have the defaults that the file names.
        configs: folder of the configs of the steps.

    Raises UserError for an unknown variant, student, form or task.
    """
    sizes = (*paper_models.SIZES, _TINY)
    if variant not in sizes:
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(sizes)}")
    tiny = variant == _TINY
    root = settings["root"] or f"runs/paper{'_tiny' if tiny else ''}"
    known = {"students": paper_models.STUDENTS, "forms": ALL_FORMS, "tasks": paper_models.TASKS}
    defaults = {
        "students": ("bloomz-7b1", "opt-1.3b"),
        "forms": ("CMF", paper_models.ORIGINAL),
        "tasks": ("creak",),
    }
    chosen = {
        key: variants.chosen_of(key, settings[key], names, defaults[key] if tiny else names)
        for key, names in known.items()
    }
    return Experiment(
        configs=configs,
        size="560m" if tiny else variant,
        tiny=tiny,
        root=root,
        data=settings["data"] or (f"{root}/data" if tiny else "data"),
        models=settings["models"],
        server=settings["server"],
        attention=settings["attention"],
        **chosen,
    )
