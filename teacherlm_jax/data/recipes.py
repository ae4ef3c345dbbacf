"""The mixtures of the paper by name: three teacher stages, the control, and the students.

TeacherLM (arXiv 2310.19019): a teacher first learns to answer (stage 1: P3 and Muffin), then to
write all three explanations (stage 2: TeacherData, all five elements of a sample in one text),
then, as three models, one kind of explanation each (stage 3: TeacherData split by kind). The
control has no stages: everything is mixed from the start. Students learn the explained samples in
some form.

The paper does not say which tokens are trained. The setting is `loss`; by default all tokens do, as
in the authors' code for students.
"""

import difflib
from typing import Any

from teacherlm_jax.config import FORMS, MixtureConfig, PartConfig
from teacherlm_jax.errors import UserError

NO_STAGE = "teacher_no_stage"

# Stage 2 draws the order of the explanations for each sample. In a fixed order only the first kind
# would ever follow the answer, and a teacher is later asked for each kind right behind it.
_TEACHERS = {
    "teacher_stage2": "shuffle",
    "teacher_stage3_cot": "C",
    "teacher_stage3_fundamental": "F",
    "teacher_stage3_mistake": "M",
}
_STUDENTS = {f"student_{form}": form for form in FORMS}

RECIPES = ("teacher_stage1", *_TEACHERS, NO_STAGE, *_STUDENTS)


def mixture(
    recipe: str,
    *,
    sources: tuple[str, ...] = (),
    teacher_data: tuple[str, ...] = (),
    name: str = "",
    **settings: Any,
) -> MixtureConfig:
    """Return one of the paper's mixtures.

    Args:
        recipe: one of RECIPES.
        sources: names of its sources; empty: all. For the control, those of stage 1.
        teacher_data: only for the control, the sources of stages 2 and 3.
        name: name of its folder; empty: the name of the recipe.
        settings: other fields of MixtureConfig, such as `author`, `loss` and `too_long`.

    Prompts of TeacherData begin with the subject. Raises UserError for an unknown recipe, and for a
    control without both kinds of sources.
    """
    name = name or recipe
    if recipe == NO_STAGE:
        return _no_stage(sources, teacher_data, name, settings)
    if teacher_data:
        raise UserError(f"{recipe}: takes no teacher_data beside sources; only {NO_STAGE} does")
    if recipe == "teacher_stage1":
        return MixtureConfig(name, sources, ("text",), **settings)
    if recipe in _TEACHERS:
        prefixed: dict[str, Any] = {"subject_prefix": True}
        return MixtureConfig(name, sources, (_TEACHERS[recipe],), **prefixed | settings)
    if recipe in _STUDENTS:
        return MixtureConfig(name, sources, (_STUDENTS[recipe],), **settings)
    near = difflib.get_close_matches(recipe, RECIPES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise UserError(f"{recipe!r}: no such recipe{hint} Known: {', '.join(RECIPES)}")


def _no_stage(
    sources: tuple[str, ...], teacher_data: tuple[str, ...], name: str, settings: dict[str, Any]
) -> MixtureConfig:
    """Return the control: the texts of all stages in one mixture."""
    if not sources or not teacher_data:
        raise UserError(
            f"{NO_STAGE}: name its sources, those of stage 1 (sources=…) and those of stages 2 and "
            "3 (teacher_data=…)"
        )
    explained = PartConfig(teacher_data, tuple(_TEACHERS.values()), subject_prefix=True)
    return MixtureConfig(name, sources, ("text",), also=(explained,), **settings)
