"""Muffin's datasets and prompts, and conversion of their rows to samples."""

import string

import pytest

from teacherlm_jax.data.sample import SampleError
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import muffin
from teacherlm_jax.sources.muffin.dataset import PROMPTS

SETS = [pytest.param(dataset, id=dataset.name) for dataset in muffin.DATASETS.values()]


def slots(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_there_are_56_datasets_with_560_tasks():
    assert len(muffin.DATASETS) == 56
    assert sum(len(dataset.prompts) for dataset in muffin.DATASETS.values()) == 560


@pytest.mark.parametrize("dataset", SETS)
def test_a_dataset_has_ten_different_prompts(dataset):
    filled = [
        prompt.text.format(**dict.fromkeys(dataset.slots, "…"), **dataset.words)
        for prompt in dataset.prompts
    ]
    assert len(filled) == len(set(filled)) == PROMPTS


@pytest.mark.parametrize("dataset", SETS)
def test_every_slot_has_a_field_or_text_and_every_field_is_used(dataset):
    used = set().union(*(slots(prompt.text) for prompt in dataset.prompts))
    assert used == set(dataset.slots) | set(dataset.words)


def test_a_dataset_has_30000_samples_divided_among_its_prompts():
    sources = muffin.sources()
    assert len({source.name for source in sources}) == len(sources) == 560 + 20 + 10
    for name in muffin.DATASETS:
        own = [source for source in sources if source.prompt.startswith(f"{name}/")]
        assert sum(source.limit for source in own) == 30_000
        assert {source.prompt for source in own} == {f"{name}/{n}" for n in range(1, 11)}
    for source in sources:
        assert source.max_tokens == 1200
        assert list(source.problems()) == []


def test_the_prompts_of_a_large_dataset_have_different_rows():
    splits = [source.split for source in muffin.sources(["winogrande"])]
    assert splits[:2] == ["train_xl[0:3000]", "train_xl[3000:6000]"]
    assert splits[-1] == "train_xl[27000:30000]"
    assert {source.split for source in muffin.sources(["rte"])} == {"train"}


def test_the_rounds_of_anli_share_the_limit_of_the_dataset():
    first = muffin.sources(["anli"], folder="tfds")[:3]
    assert [source.name for source in first] == ["anli_1_r1", "anli_1_r2", "anli_1_r3"]
    assert [source.path for source in first] == [f"tfds/anli/r{n}/0.1.0" for n in (1, 2, 3)]
    assert {source.split for source in first} == {"train[0:1000]"}


def test_unknown_datasets_and_prompts_are_refused():
    with pytest.raises(UserError, match="unknown dataset 'mnlj'; expected one of anli, "):
        muffin.sources(["mnlj"])
    for prompt in ("rte", "rte/0", "rte/11", "rte/x"):
        with pytest.raises(UserError, match=f"unknown prompt '{prompt}'; expected DATASET/1"):
            muffin.to_fields(prompt, {})


def test_paths_contain_the_config_of_tfds_if_there_are_several():
    (source, *_) = muffin.sources(["paws_wiki"], folder="tfds")
    assert source.path == "tfds/paws_wiki/labeled_final_tokenized/1.1.0"


CASES = [
    (
        "cb/1",
        {"premise": "It rained.", "hypothesis": "It was dry.", "label": 1},
        (["Yes", "It is impossible to say", "No"], "(C)"),
        "is the following claim true? It was dry.",
    ),
    (
        "bool_q/2",
        {"passage": "Salt dissolves.", "question": "does salt dissolve", "answer": True},
        (["No", "Yes"], "(B)"),
        "Passage: Salt dissolves.\nQuestion: does salt dissolve?",
    ),
    (
        "arc/1",
        {"question": "What is wet?", "choices": {"text": ["Sand", "Rain"]}, "answerKey": 1},
        (["Sand", "Rain"], "(B)"),
        "What is wet?",
    ),
    (
        "openbookqa/1",
        {
            "fact1": "ice is cold",
            "question": {
                "stem": "What cools?",
                **dict(zip(("choice_A", "choice_B", "choice_C", "choice_D"), "wxyz", strict=True)),
            },
            "answerKey": 2,
        },
        (["w", "x", "y", "z"], "(C)"),
        "Fact: ice is cold\nWhat cools?",
    ),
    (
        "natural_questions/1",
        {"question": "who wrote hamlet", "answer": ["Shakespeare", "W. Shakespeare"]},
        ([], "Shakespeare"),
        "who wrote hamlet?",
    ),
    (
        "sentiment140/1",
        {"text": "so  glad!", "polarity": 4},
        (["Negative", "Positive"], "(B)"),
        "so glad!\n\nIs this tweet positive or negative?",
    ),
    (
        "stsb/4",
        {"sentence1": "A dog.", "sentence2": "A hound.", "label": 4.5},
        (["0", "1", "2", "3", "4", "5"], "(F)"),
        'how close is "A dog." to "A hound."?',
    ),
    (
        "squad/1",
        {
            "context": "Rome is old.",
            "question": "Who built Rome?",
            "answers": {"text": [], "answer_start": []},
        },
        ([], "The passage does not say."),
        "Rome is old.\n\nWho built Rome?",
    ),
    (
        "quac/1",
        {
            "context": "She sang. CANNOTANSWER",
            "title": "Ada",
            "section_title": "Life",
            "question": "When?",
            "orig_answer": {"text": "CANNOTANSWER", "answer_start": 10},
        },
        ([], "The passage does not say."),
        "She sang.\n\nAbout Ada: When?",
    ),
    (
        "coqa/2",
        {
            "story": "Tom ran home.",
            "questions": ["Who ran?", "Where to?"],
            "answers": {"input_text": ["Tom", "home"]},
        },
        ([], "home"),
        "Story: Tom ran home.\nConversation about it:\n- Who ran? Tom\n- Where to?",
    ),
    (
        "record/2",
        {
            "passage": "Ann met Bob.\n@highlight\nThey talked.",
            "query": "It was @placeholder who came.",
            "entities": ["Ann", "Bob", "Ann"],
            "answers": ["Bob"],
        },
        (["Ann", "Bob"], "(B)"),
        "Article: Ann met Bob.\nThey talked.\nFill in the blank: It was _____ who came.",
    ),
    (
        "copa/1",
        {
            "premise": "He fell.",
            "question": "cause",
            "choice1": "Ice.",
            "choice2": "Sun.",
            "label": 0,
        },
        (["Ice.", "Sun."], "(A)"),
        "He fell. Which of these is the more likely cause?",
    ),
    (
        "hellaswag/1",
        {
            "context": "[header] How to knead [step] Take dough.",
            "endings": ["[substeps] Press it.", "Sing."],
            "activity_label": "Food",
            "label": 0,
        },
        (["Press it.", "Sing."], "(A)"),
        "How to knead Take dough.\n\nWhat happens next?",
    ),
    (
        "wmt16_deen/6",
        {"de": "Guten Tag.", "en": "Good day."},
        ([], "Good day."),
        "Guten Tag.\n\nSay this in English.",
    ),
    (
        "wmt16_deen/1",
        {"de": "Guten Tag.", "en": "Good day."},
        ([], "Guten Tag."),
        "Good day.\n\nSay this in German.",
    ),
    (
        "web_nlg_en/1",
        {"input": ["Bonn_Zoo | location | Bonn", "Bonn | country | Germany"], "target": "It is."},
        ([], "It is."),
        "Bonn Zoo – location – Bonn\nBonn – country – Germany\n\nPut this into words.",
    ),
    (
        "e2e_nlg/2",
        {"meaning_representation": "name[The Mill], area[city centre]", "target": "The Mill."},
        ([], "The Mill."),
        "name: The Mill; area: city centre\nWrite what a travel guide would say about it.",
    ),
    (
        "opinion_abstracts_rotten_tomatoes/1",
        {
            "_movie_name": "blue_moon",
            "_critic_consensus": "Fine.",
            "_critics": {"key": ["0", "1"], "value": ["Good.", "Nice."]},
        },
        ([], "Fine."),
        'Reviews of "blue moon":\n1. Good.\n2. Nice.\nWhat do the critics agree on?',
    ),
]


@pytest.mark.parametrize(
    ("prompt", "row", "answer", "ending"), CASES, ids=lambda case: str(case)[:24]
)
def test_a_prompt_turns_a_row_into_a_question_and_answer(prompt, row, answer, ending):
    fields = muffin.to_fields(prompt, row)
    assert (fields["options"], fields["answer"]) == answer
    assert fields["question"].endswith(ending)


@pytest.mark.parametrize(
    ("prompt", "row", "reason"),
    [
        (
            "snli/1",
            {"premise": "A", "hypothesis": "B", "label": -1},
            "label is -1, which is not the label",
        ),
        ("snli/1", {"premise": "A", "label": 0}, "no hypothesis"),
        ("snli/1", {"premise": " ", "hypothesis": "B", "label": 0}, "empty premise"),
        ("sentiment140/1", {"text": "so", "polarity": 2}, "polarity is 2, which is not the label"),
        ("gigaword/1", {"document": "in #### .", "summary": "x"}, "are masked"),
        ("natural_questions/1", {"question": "who", "answer": []}, "answer is empty"),
        (
            "record/1",
            {"passage": "A", "query": "@placeholder", "entities": ["A", "B"], "answers": ["C"]},
            "the answer is not one of the options",
        ),
        (
            "record/1",
            {
                "passage": "A",
                "query": "@placeholder",
                "entities": [str(number) for number in range(30)],
                "answers": ["29"],
            },
            "more than 26 options",
        ),
        (
            "coqa/1",
            {"story": "A", "questions": ["B?"], "answers": {"input_text": []}},
            "1 questions, 0 answers",
        ),
        (
            "piqa/1",
            {"goal": "A", "sol1": "B", "sol2": "C", "label": -1},
            "label is -1, which is not the index",
        ),
        (
            "rte/1",
            {"premise": "A", "hypothesis": "B", "label": "yes"},
            "label is str, expected a number",
        ),
        (
            "rte/1",
            {"premise": "A", "hypothesis": "B", "label": None},
            "label is null, expected a number",
        ),
        (
            "stsb/1",
            {"sentence1": "A", "sentence2": "B", "label": float("nan")},
            "is a fraction, expected a number",
        ),
        ("imdb_reviews/1", {"text": b"\xff<br />", "label": 0}, "text is bytes, expected text"),
        (
            "common_gen/1",
            {"concepts": "dog", "target": "A."},
            "concepts is not a list of texts",
        ),
        ("squad/1", {"answers": {"text": None}}, "answers.text is not a list of texts"),
        (
            "definite_pronoun_resolution/1",
            {"sentence": "A", "pronoun": "it", "candidates": "AB", "label": 0},
            "candidates is not a list of texts",
        ),
    ],
)
def test_an_unusable_row_is_refused_with_the_reason(prompt, row, reason):
    with pytest.raises(SampleError, match=reason):
        muffin.to_fields(prompt, row)
