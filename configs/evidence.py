"""Do stages and explanations help? Models trained from scratch on generated samples.

    make evidence

docs/explanation/evidence.md has the protocol, the results, and the time they take. `make evidence`
writes the samples, runs a pipeline of this file for each question, and rebuilds the page. To run
one pipeline, or one of its steps, on samples that `make evidence` has written:

    teacherlm pipeline --config=configs/evidence.py:students --processes=2
    teacherlm train --config=configs/evidence.py:student/CMF/1000/seed-3

Variants:

    students  do students that read explanations answer better?
    stages    do teachers that are trained in stages answer and explain better?
    forms     students that read other forms of explanations
    causes    what makes the difference: truth of the explanations, and which tokens are trained
    taught    do explanations that a teacher wrote help as much as true ones?
    amounts   students with fewer and with more samples
    sizes     smaller and larger teachers, trained in stages
    restarts  large teachers trained on mixed data, with an optimizer that starts again; they are
              compared with those of `sizes`
    real      students on CREAK, ECQA and StrategyQA, with explanations by people

and the steps of these, with the names that `--status` prints.

Settings after the variant, as in `students,seeds=2`:

    root   folder of the samples and of all runs (default: runs/evidence)
    seeds  number of seeds (default: 10)
    first  the first seed (default: 0; pilot runs have seeds of 1000 and above)
    short  the main effect of each question only, with a few seeds; students on generated
           samples have half of the steps
    tiny   a few steps of everything, as a smoke test; the models learn nothing
"""

import os
import re

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.evidence_steps import (
    parts,
    study,
    study_real,
    study_students,
    study_teachers,
)

FILE = os.path.relpath(__file__)


def one_of(*groups) -> str:
    """Return a regex that matches any one name of the groups."""
    return f"({'|'.join(name for group in groups for name in group)})"


_SEED = r"seed-\d+"
_AMOUNT = one_of(map(str, (study.MAIN_AMOUNT, *study_students.AMOUNTS)))
_ARM = one_of(study_students.ARMS)
_TAUGHT_ARM = f"{one_of(study_students.TAUGHT_ARMS)}/{study.MAIN_AMOUNT}"
_WRITER = one_of(study_teachers.WRITERS, (study_teachers.RESTARTED,))
_TAUGHT_WRITER = one_of({arm.writer for arm in study_students.TAUGHT_ARMS.values()})
COMMANDS = {  # names of steps, and the function that returns their config
    "vocabulary": ("vocabulary", study.vocabulary),
    "student_data": (f"student_data/{_AMOUNT}/{_SEED}", study_students.student_data),
    "taught_data": (f"taught_data/{_TAUGHT_WRITER}/{_SEED}", study_students.taught_data),
    "student": (
        f"student/({_ARM}/{_AMOUNT}|{_TAUGHT_ARM})/{_SEED}",
        study_students.student,
    ),
    "stage_data": (f"stage_data/{_SEED}", study_teachers.stage_data),
    "teacher": (
        f"teacher/{one_of(study.SIZES)}/{one_of(study_teachers.STEPS)}/{_SEED}",
        study_teachers.teacher,
    ),
    "explain": (f"explain/{one_of(study.SIZES)}/{_WRITER}/{_SEED}", study_teachers.explain),
    "write": (
        f"write/{study_teachers.MAIN_SIZE}/{_TAUGHT_WRITER}/{_SEED}",
        study_teachers.write,
    ),
    "real_data": ("real_data", study_real.real_data),
    "real": (f"real/{one_of(study_real.ARMS)}/{_SEED}", study_real.student),
}


def get_config(argument: str = ""):
    """Return a pipeline, or the config of one of its steps."""
    name, given = variants.parse(
        argument, root="runs/evidence", seeds=study.SEEDS, first=0, short=False, tiny=False
    )
    settings = study.Study(
        file=FILE,
        root=given["root"],
        seeds=study.chosen_seeds(
            given["first"], given["seeds"], short=given["short"], tiny=given["tiny"]
        ),
        short=given["short"],
        tiny=given["tiny"],
    )
    if name in parts.PARTS:
        return config.PipelineConfig(output=settings.root, steps=parts.steps(settings, name))
    kind, *words = name.split("/")
    if kind in COMMANDS and re.fullmatch(COMMANDS[kind][0], name):
        return COMMANDS[kind][1](settings, *words)
    steps = [step.name for part in parts.PARTS for step in parts.steps(settings, part)]
    raise UserError(
        f"unknown variant {name!r}; known: {', '.join(parts.PARTS)}, and steps such as "
        f"{steps[1]} and {steps[-1]}"
    )
