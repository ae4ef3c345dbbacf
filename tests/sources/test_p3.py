"""P3's tasks, and conversion of their rows to samples."""

import pytest

from teacherlm_jax.data.sample import SampleError
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import p3


def row(**other):
    values = {
        "inputs_pretokenized": "Is the sky blue?\n",
        "targets_pretokenized": "\nYes",
        "answer_choices": ["No", " Yes "],
    }
    return values | other


def test_there_are_58_datasets_with_539_tasks():
    names = [task for dataset in p3.DATASETS for task in p3.tasks(dataset)]
    assert len(p3.DATASETS) == 58
    assert len(names) == len(set(names)) == 539
    assert not [name for name in names if name.endswith("_score_eval")]


def test_some_datasets_have_as_many_prompts_as_in_p3():
    counts = {name: len(prompts) for name, prompts in p3.DATASETS.items()}
    assert counts["anli"] == 3 * counts["super_glue_cb"] == 45
    assert (counts["imdb"], counts["trec"], counts["super_glue_record"]) == (11, 18, 20)


def test_sources_have_the_limits_of_the_paper():
    sources = p3.sources()
    assert len(sources) == 539
    for source in sources:
        assert (source.limit, source.limit_by, source.max_tokens) == (3000, "seed", 1200)
        assert list(source.problems()) == []
    named = {source.name: source for source in sources}
    assert named["super_glue_wsc.fixed_p_is_are_r"].path == (
        "data/super_glue_wsc.fixed_p_is_are_r/train.tfrecord-*-of-*"
    )


def test_datasets_layout_and_folder_can_be_chosen():
    sources = p3.sources(["glue_qqp"], layout="parquet", folder="P3")
    assert [source.path for source in sources][:2] == [
        "P3/glue_qqp_answer/train-*-of-*.parquet",
        "P3/glue_qqp_duplicate/train-*-of-*.parquet",
    ]
    assert {source.reader for source in sources} == {"parquet"}


def test_unknown_datasets_and_layouts_are_refused():
    with pytest.raises(
        UserError, match="unknown dataset 'glue_qqq'; expected one of super_glue_wsc.fixed, "
    ):
        p3.sources(["glue_qqq"])
    with pytest.raises(UserError, match="unknown layout 'csv'; expected one of tfrecord, parquet"):
        p3.sources(layout="csv")


def test_a_row_with_choices_is_multiple_choice():
    assert p3.to_fields(row()) == {
        "question": "Is the sky blue?",
        "options": ["No", "Yes"],
        "answer": "(B)",
    }


def test_choices_that_are_letters_are_matched_by_their_text():
    fields = p3.to_fields(row(answer_choices=["B", "A"], targets_pretokenized="B"))
    assert (fields["options"], fields["answer"]) == (["B", "A"], "(A)")


def test_a_row_without_choices_is_free_text():
    without = row()
    del without["answer_choices"]
    for free in (without, row(answer_choices=[])):
        assert p3.to_fields(free) == {"question": "Is the sky blue?", "answer": "Yes"}


def test_a_row_with_more_choices_than_letters_is_free_text():
    kinds = [f"kind {number}" for number in range(47)]  # as in trec_fine_grained_open
    fields = p3.to_fields(row(answer_choices=kinds, targets_pretokenized="\nkind 46"))
    assert fields == {"question": "Is the sky blue?", "answer": "kind 46"}
    most = p3.to_fields(row(answer_choices=kinds[:26], targets_pretokenized="kind 25"))
    assert (len(most["options"]), most["answer"]) == (26, "(Z)")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"targets_pretokenized": "Perhaps"}, "the target is not one of the answer choices"),
        ({"targets_pretokenized": "yes"}, "the target is not one of the answer choices"),
        ({"answer_choices": ["Yes", "Yes "]}, "the target equals more than one answer choice"),
        ({"answer_choices": ["Yes"]}, "only one answer choice"),
        ({"answer_choices": "Yes"}, "only one answer choice"),
        ({"answer_choices": ["Yes", b"\xff"]}, "answer_choices is not a list of texts"),
        ({"answer_choices": 5}, "answer_choices is not a list of texts"),
        (
            {"answer_choices": [str(i) for i in range(27)]},
            "the target is not one of the answer choi",
        ),
        ({"targets_pretokenized": "<NO LABEL>"}, "the row has no label"),
        ({"inputs_pretokenized": None}, "inputs_pretokenized is null, expected text"),
        ({"targets_pretokenized": [1, 2]}, "targets_pretokenized is a list, expected text"),
    ],
)
def test_an_unusable_row_is_refused_with_the_reason(other, reason):
    with pytest.raises(SampleError, match=reason):
        p3.to_fields(row(**other))
