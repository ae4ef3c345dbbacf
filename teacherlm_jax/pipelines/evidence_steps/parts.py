"""The parts of the study by name, and the steps of each."""

from teacherlm_jax import config
from teacherlm_jax.pipelines.evidence_steps import study_real, study_students, study_teachers
from teacherlm_jax.pipelines.evidence_steps.study import Study

_STEPS = {  # in the order in which `make evidence` runs them
    "students": study_students.of_part,
    "stages": study_teachers.of_part,
    "forms": study_students.of_part,
    "causes": study_students.of_part,
    "taught": study_students.of_part,
    "amounts": study_students.of_part,
    "sizes": study_teachers.of_part,
    study_teachers.RESTARTS: study_teachers.of_part,
    study_real.PART: study_real.of_part,
}
PARTS = tuple(_STEPS)


def steps(study: Study, part: str) -> tuple[config.StepConfig, ...]:
    """Return the steps of a part, each once, in the order in which they can run."""
    return tuple({step.name: step for step in _STEPS[part](study, part)}.values())
