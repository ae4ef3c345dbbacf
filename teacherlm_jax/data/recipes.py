"""Mixtures of the paper by name: three teacher stages, the control, and the students.

TeacherLM (arXiv 2310.19019): a teacher first learns to answer (stage 1: P3 and Muffin), then to
write all three explanations (stage 2: TeacherData, with all five elements of a sample in one text).
In stage 3, three models each learn one kind of explanation (TeacherData split by kind). The control
has no stages: all texts are mixed from the start. Students learn from explained samples in one of
the text forms.

The paper does not say which tokens are trained. Set `loss` to choose them; by default all tokens
are, as in the authors' code for students.
"""

import difflib
from typing import Any

from teacherlm_jax.config import FORMS, MixtureConfig, PartConfig
from teacherlm_jax.errors import UserError

NO_STAGE = "teacher_no_stage"

# Stage 2 shuffles the explanations of each sample. In a fixed order, only the first kind would ever
# follow the answer directly, but a teacher must later write each kind directly after the answer.
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
        sources: names of the sources; empty: all. For the control, those of stage 1.
        teacher_data: names of the sources of stages 2 and 3; for the control only.
        name: name of the mixture's folder; empty: the name of the recipe.
        settings: other fields of MixtureConfig, such as `author`, `loss` and `too_long`.

    Prompts of TeacherData begin with the subject. Raises UserError for an unknown recipe, and for a
    control without `sources` or without `teacher_data`.
    """
    name = name or recipe
    if recipe == NO_STAGE:
        return _no_stage(sources, teacher_data, name, settings)
    if teacher_data:
        raise UserError(
            f"{recipe}: does not use teacher_data={teacher_data!r}, only {NO_STAGE} does; name all "
            "sources in sources"
        )
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
            f"{NO_STAGE}: needs the sources of stage 1 (sources=…) and those of stages 2 and 3 "
            "(teacher_data=…); set both"
        )
    explained = PartConfig(teacher_data, tuple(_TEACHERS.values()), subject_prefix=True)
    return MixtureConfig(name, sources, ("text",), also=(explained,), **settings)
