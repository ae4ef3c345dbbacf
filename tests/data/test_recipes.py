"""The paper's mixtures by name, with their sources, forms and settings."""

import pytest

from teacherlm_jax.config import (
    FORMS,
    MixtureConfig,
    PartConfig,
    PrepareConfig,
    SourceConfig,
    VocabularyConfig,
    fields,
)
from teacherlm_jax.data import recipes
from teacherlm_jax.errors import UserError


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("teacher_stage1", MixtureConfig("teacher_stage1", ("a",), ("text",))),
        (
            "teacher_stage2",
            MixtureConfig("teacher_stage2", ("a",), ("shuffle",), subject_prefix=True),
        ),
        (
            "teacher_stage3_cot",
            MixtureConfig("teacher_stage3_cot", ("a",), ("C",), subject_prefix=True),
        ),
        (
            "teacher_stage3_fundamental",
            MixtureConfig("teacher_stage3_fundamental", ("a",), ("F",), subject_prefix=True),
        ),
        (
            "teacher_stage3_mistake",
            MixtureConfig("teacher_stage3_mistake", ("a",), ("M",), subject_prefix=True),
        ),
        *((f"student_{form}", MixtureConfig(f"student_{form}", ("a",), (form,))) for form in FORMS),
    ],
)
def test_each_recipe_has_its_sources_and_form(recipe, expected):
    assert recipes.mixture(recipe, sources=("a",)) == expected


def test_the_control_contains_the_texts_of_all_stages():
    control = recipes.mixture("teacher_no_stage", sources=("p3", "muffin"), teacher_data=("td",))
    stage1 = PartConfig(("p3", "muffin"), ("text",))
    assert control.parts == (stage1, PartConfig(("td",), ("shuffle", "C", "F", "M"), True))
    mixed = {
        (source, form) for part in control.parts for source in part.sources for form in part.forms
    }
    staged = set()
    for recipe in recipes.RECIPES[:5]:
        sources = ("p3", "muffin") if recipe == "teacher_stage1" else ("td",)
        staged |= {
            (source, form)
            for part in recipes.mixture(recipe, sources=sources).parts
            for source in part.sources
            for form in part.forms
        }
    assert mixed == staged


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_every_recipe_takes_any_author_loss_and_name_and_can_be_prepared(recipe):
    control = {"teacher_data": ("b",)} if recipe == recipes.NO_STAGE else {}
    mixture = recipes.mixture(
        recipe, sources=("a",), name="mine", author="davinci", loss="answer", **control
    )
    assert (mixture.name, mixture.author, mixture.loss) == ("mine", "davinci", "answer")
    fields.check(
        PrepareConfig(
            output="o",
            sources=(SourceConfig("a", "a.jsonl"), SourceConfig("b", "b.jsonl")),
            mixtures=(mixture,),
            vocabulary=VocabularyConfig("v"),
        )
    )


def test_a_recipe_without_sources_uses_all_of_them():
    assert recipes.mixture("student_CMF").sources == ()


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("teacher_stage4", {}, "'teacher_stage4': no such recipe; did you mean 'teacher_stage"),
        ("student_MC", {}, "no such recipe"),
        ("teacher_no_stage", {"sources": ("a",)}, "needs the sources of stage 1"),
        ("teacher_no_stage", {"teacher_data": ("a",)}, "needs the sources of stage 1"),
        ("student_C", {"teacher_data": ("a",)}, "student_C: does not use teacher_data="),
    ],
)
def test_an_invalid_recipe_is_refused(recipe, settings, message):
    with pytest.raises(UserError, match=message):
        recipes.mixture(recipe, **settings)
