"""Explained samples as a notebook shows them."""

import pytest

import teacherlm_jax
from teacherlm_jax.errors import UserError

LOST = "One may take 3 away, <as if> Mia had sold | lost them."


def test_a_notebook_shows_samples_as_markdown_with_verdicts_and_without_their_markup(runs):
    shown = teacherlm_jax.samples(runs / "annotate", 2)._repr_markdown_()
    first, second = shown.split("\n\n---\n\n")
    assert "**Question:** Mia has 2 pears." in first and "(A) -1 (B) 5 (C) 6" in first
    assert "**Answer:** (B) 5" in first
    assert "> *chain of thought* (passes: finished, not empty, synthetic): Mia has 2" in first
    assert "> *common mistakes* (fails: synthetic): One may take 3 away, &lt;as if>" in second
    assert "sold \\| lost" in second


def test_printed_samples_are_those_of_the_summary(runs, capsys):
    print(teacherlm_jax.samples(runs / "annotate", 1))
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("unlabelled-0 (synthetic/quantities) Question Mia has 2 pears.")
    assert text.endswith(f"common mistakes (passes: finished, not empty, synthetic) {LOST}")


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("annotate", 0, "count=0: expected at least 1"),
        ("stage1", 5, "stage1: no explained samples; name the run folder of an annotation"),
        ("nothing", 5, "nothing: no explained samples; name the run folder of an annotation"),
    ],
)
def test_a_folder_without_explained_samples_is_an_error(runs, name, count, message):
    with pytest.raises(UserError, match=message):
        teacherlm_jax.samples(runs / name, count)
