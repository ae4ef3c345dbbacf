"""Categories of MMLU's subjects."""

import json

from teacherlm_jax.evaluation.mmlu_categories import CATEGORIES, by_category


def test_the_57_subjects_are_in_four_categories():
    sizes = {name: len(subjects) for name, subjects in CATEGORIES.items()}
    assert sizes == {"STEM": 18, "humanities": 13, "social sciences": 12, "other": 14}
    assert len({subject for subjects in CATEGORIES.values() for subject in subjects}) == 57


def test_all_subjects_of_the_published_rows_have_a_category(shared_data):
    lines = (shared_data / "eval" / "mmlu_test.jsonl").read_text().splitlines()
    subjects = {json.loads(line)["subject"] for line in lines}
    groups = by_category(sorted(subjects))
    assert list(groups) == list(CATEGORIES)
    grouped = [subject for group in groups.values() for subject in group]
    assert sorted(grouped) == sorted(subjects)
    assert len(subjects) == 57


def test_other_subjects_have_no_categories():
    assert by_category(["anatomy", "moral_scenarios"]) == {
        "humanities": ["moral_scenarios"],
        "other": ["anatomy"],
    }
    assert by_category(["anatomy", "cooking"]) == by_category([""]) == {}
