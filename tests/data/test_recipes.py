"""The paper's mixtures by name: which sources, in which forms, with which settings."""

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
    ("recipe", "wanted"),
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
def test_each_recipe_is_its_sources_in_its_form(recipe, wanted):
    assert recipes.mixture(recipe, sources=("a",)) == wanted


def test_the_control_is_the_texts_of_all_stages_at_once():
    control = recipes.mixture("teacher_no_stage", sources=("p3", "muffin"), teacher_data=("td",))
    stage1 = PartConfig(("p3", "muffin"), ("text",))
    assert control.parts == (stage1, PartConfig(("td",), ("shuffle", "C", "F", "M"), True))
    told = {
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
    assert told == staged


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_every_recipe_takes_any_author_loss_and_name_and_can_be_prepared(recipe):
    control = {"teacher_data": ("b",)} if recipe == recipes.NO_STAGE else {}
    made = recipes.mixture(
        recipe, sources=("a",), name="mine", author="davinci", loss="answer", **control
    )
    assert (made.name, made.author, made.loss) == ("mine", "davinci", "answer")
    fields.check(
        PrepareConfig(
            output="o",
            sources=(SourceConfig("a", "a.jsonl"), SourceConfig("b", "b.jsonl")),
            mixtures=(made,),
            vocabulary=VocabularyConfig("v"),
        )
    )


def test_without_sources_a_recipe_draws_on_all_of_them():
    assert recipes.mixture("student_CMF").sources == ()


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("teacher_stage4", {}, "'teacher_stage4': no such recipe; did you mean 'teacher_stage"),
        ("student_MC", {}, "no such recipe"),
        ("teacher_no_stage", {"sources": ("a",)}, "name its sources"),
        ("teacher_no_stage", {"teacher_data": ("a",)}, "name its sources"),
        ("student_C", {"teacher_data": ("a",)}, "student_C: takes no teacher_data"),
    ],
)
def test_what_is_no_recipe_is_refused(recipe, settings, message):
    with pytest.raises(UserError, match=message):
        recipes.mixture(recipe, **settings)
