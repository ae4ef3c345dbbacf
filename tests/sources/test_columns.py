"""Rows of any layout, read by a config that names their columns."""

import pytest

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.data.sample import Sample, SampleError, from_row, without_nan
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import reading
from teacherlm_jax.sources.columns import from_columns
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

NAN = float("nan")
ROW = {"question": "Sky?", "choices": ["red", "blue"], "answer": "blue"}
CHOICES = ("choices",)


def sample(row, **columns):
    return from_row({"id": "1"} | {k: v for k, v in fields_of(row, **columns).items() if v})


def fields_of(row, **columns):
    return from_columns(ColumnsConfig(**columns), without_nan(row))


def refusal(row, **columns):
    with pytest.raises(SampleError) as refused:
        sample(row, **columns)
    return str(refused.value)


def test_every_column_becomes_the_field_that_the_config_names():
    row = {
        "q": "Sky?",
        "gold": 1,
        "choices": ["red", "blue"],
        "topic": "colours",
        "number": 17,
        "why": "Look up.",
        "facts": {"short": "Light scatters."},
        "trap": None,
    }
    columns = {"question": "q", "answer": "gold", "options": CHOICES, "subject": "topic"}
    kinds = {"cot": "why", "fundamental": "facts.short", "mistake": "trap", "author": "expert"}
    assert sample(row, id="number", **columns, **kinds) == Sample(
        id="17",
        question="Sky?",
        answer="(B)",
        options=("red", "blue"),
        subject="colours",
        explanations={
            "cot": {"expert": "Look up."},
            "fundamental": {"expert": "Light scatters."},
        },
    )


@pytest.mark.parametrize(
    ("answer", "columns", "letter"),
    [
        (1, {}, "(B)"),
        (1.0, {}, "(B)"),  # whole numbers in a column with nulls
        (2, {"first": 1}, "(B)"),
        ("2", {"first": 1, "answer_is": "number"}, "(B)"),
        ("B", {}, "(B)"),
        ("(B)", {}, "(B)"),
        ("b)", {"answer_is": "letter"}, "(B)"),
        ("blue", {}, "(B)"),
        ("Blue.", {}, "(B)"),
        ("blue", {"answer_is": "text"}, "(B)"),
    ],
)
def test_an_answer_may_be_a_number_a_letter_or_a_text(answer, columns, letter):
    assert sample(ROW | {"answer": answer}, options=CHOICES, **columns).answer == letter


@pytest.mark.parametrize(
    ("answer", "columns", "letter"),
    [("B", {}, None), ("B", {"answer_is": "text"}, "(A)"), ("B", {"answer_is": "letter"}, "(B)")],
)
def test_answer_is_decides_between_two_meanings_of_an_answer(answer, columns, letter):
    row = ROW | {"choices": ["B", "C"], "answer": answer}
    if letter:
        assert sample(row, options=CHOICES, **columns).answer == letter
    else:
        assert refusal(row, options=CHOICES) == "the answer matches more than one option"


@pytest.mark.parametrize(
    "options",
    [
        {"label": ["1", "2"], "text": ["red", "blue"]},
        [{"label": "1", "text": "red"}, {"label": "2", "text": "blue"}],
        {"1": "red", "2": "blue"},
    ],
)
def test_an_answer_may_be_the_label_of_an_option(options):
    row = ROW | {"choices": options, "answer": "2"}
    result = sample(row, options=CHOICES)
    assert (result.options, result.answer) == (("red", "blue"), "(B)")


@pytest.mark.parametrize(
    ("options", "answer", "letters"),
    [
        (["1", "2", "3"], 1, {"number": "(B)", "text": "(A)"}),
        ([1, 2, 3], 2, {"number": "(C)", "text": "(B)"}),
        ({"label": [1, 2], "text": ["red", "blue"]}, 1, {"number": "(B)", "letter": "(A)"}),
        ({"1": "2", "2": "1"}, "2", {"letter": "(B)", "text": "(A)"}),
        ({"A": "B", "B": "A"}, "A", {"letter": "(A)", "text": "(B)"}),
    ],
)
def test_an_ambiguous_answer_is_refused_unless_answer_is_is_set(options, answer, letters):
    row = ROW | {"choices": options, "answer": answer}
    assert refusal(row, options=CHOICES).startswith("column 'answer' names one option by number")
    for answer_is, letter in letters.items():
        assert sample(row, options=CHOICES, answer_is=answer_is).answer == letter


def test_an_answer_that_names_the_same_option_in_two_ways_is_used():
    for options, answer in ((["0", "1"], 1), ({"A": "A", "B": "B"}, "B")):
        row = ROW | {"choices": options, "answer": answer}
        assert sample(row, options=CHOICES).answer == "(B)"


@pytest.mark.parametrize("nothing", [None, [], [None, None], NAN, {"label": [], "text": []}])
def test_a_row_without_options_has_a_free_text_answer(nothing):
    row = ROW | {"choices": nothing}
    result = sample(row, options=CHOICES)
    assert (result.options, result.answer) == ((), "blue")
    assert sample(row | {"answer": 7}, options=CHOICES, answer_is="text").answer == "7"


def test_a_row_whose_option_columns_are_null_has_a_free_text_answer():
    row = {"question": "Sky?", "a": None, "answer": "blue"}
    assert sample(row, options=("a", "b")).options == ()


@pytest.mark.parametrize(
    ("answer", "answer_is"),
    [(1, ""), (1.0, ""), ("B", ""), ("(B)", ""), ("b", "letter"), ("1", "number")],
)
def test_an_answer_that_needs_options_is_refused_without_them(answer, answer_is):
    row = ROW | {"choices": [], "answer": answer}
    assert refusal(row, options=CHOICES, answer_is=answer_is) == (
        "column 'answer' contains a letter or number, but there are no options; set "
        "columns.answer_is to 'text' if it is the answer itself"
    )


def test_each_option_may_have_its_own_column():
    row = {"question": "Sky?", "a": "red", "b": "blue", "c": None, "d": "", "answer": 1}
    for names in (("a", "b"), ("a", "b", "c", "d"), ("a", "b", "e")):
        result = sample(row, options=names)
        assert (result.options, result.answer) == (("red", "blue"), "(B)")


def test_options_may_be_numbers():
    row = {"question": "2 + 2?", "choices": [3, 4.0, True], "answer": "4"}
    assert sample(row, options=CHOICES).options == ("3", "4", "True")


@pytest.mark.parametrize(
    ("answer", "text"), [("x", "x"), (72, "72"), (72.0, "72"), (True, "True"), (0, "0")]
)
def test_without_options_an_answer_is_free_text(answer, text):
    assert sample({"question": "?", "answer": answer}).answer == text


def test_dotted_names_refer_to_values_inside_objects_and_lists():
    row = {"question": {"stem": "Who?"}, "answers": {"text": ["Ann", "Bo"]}, "a.b": "odd"}
    result = sample(row, question="question.stem", answer="answers.text.1", subject="a.b")
    assert (result.question, result.answer, result.subject) == ("Who?", "Bo", "odd")


@pytest.mark.parametrize(
    ("row", "columns", "reason"),
    [
        ({"answer": "x"}, {}, "no column 'question'; the columns are answer"),
        (ROW, {"answer": "gold"}, "no column 'gold'; the columns are question, choices, answer"),
        (ROW, {"answer": "answer.text"}, "no column 'answer.text'; the columns are question, ch"),
        (ROW | {"question": None}, {}, "column 'question' is null"),
        (ROW | {"answer": NAN}, {}, "column 'answer' is null"),
        (ROW | {"answer": None}, {"answer": "answer.text.0"}, "column 'answer.text.0' is null"),
        (
            ROW | {"choices": ["a", None, "b"]},
            {"options": CHOICES},
            "column 'choices' contains null",
        ),
        (
            ROW | {"choices": "a b"},
            {"options": CHOICES},
            "column 'choices' contains str instead of a list",
        ),
        (
            ROW | {"choices": ["a"] * 27},
            {"options": CHOICES},
            "column 'choices' contains 27 options",
        ),
        (ROW | {"question": 3}, {}, "column 'question' contains int instead of text"),
        (ROW | {"answer": ["x"]}, {}, "column 'answer' contains a list instead of text"),
        (ROW | {"answer": 0.5}, {}, "column 'answer' contains a fraction instead of text"),
        (ROW | {"answer": 2}, {"options": CHOICES}, "column 'answer' is not one of 2 options c"),
        (ROW | {"answer": -1}, {"options": CHOICES}, "column 'answer' is not one of 2 options"),
        (ROW | {"answer": 0}, {"options": CHOICES, "first": 1}, "column 'answer' is not one of 2"),
        (
            ROW,
            {"options": CHOICES, "answer_is": "number"},
            "column 'answer' does not contain a whole number",
        ),
        (ROW | {"answer": "C"}, {"options": CHOICES}, "the answer is not one of the options"),
        (
            ROW | {"answer": "C"},
            {"options": CHOICES, "answer_is": "letter"},
            "the answer is not one of the options",
        ),
        (
            ROW | {"why": {"x": 1}},
            {"cot": "why"},
            "column 'why' contains an object instead of text",
        ),
        (
            ROW | {"answer": "B"},
            {"options": CHOICES, "answer_is": "text"},
            "the answer is not one of the options",
        ),
        *(
            (
                ROW | {"choices": {"label": labels, "text": ["red", "blue"]}},
                {"options": CHOICES},
                "column 'choices' contains 1 labels for 2 options",
            )
            for labels in (["A"], ["A", "A"])
        ),
    ],
)
def test_the_reason_for_an_unusable_row_names_the_column(row, columns, reason):
    assert refusal(row, **columns).startswith(reason)


def read(folder, refused, **columns):
    named = ColumnsConfig(**columns)
    config = SourceConfig("set", "a.jsonl", format="columns", columns=named, subject="things")
    return list(reading.read_samples(config, str(folder), refused))


def test_rows_without_ids_get_ids_from_the_source_and_line(tmp_path):
    files.write_jsonl(tmp_path / "a.jsonl", [ROW | {"why": "Look up."}, ROW, ROW | {"answer": 3}])
    refused = RefusedRows(None)
    first, second = read(tmp_path, refused, options=CHOICES, cot="why")
    assert (first.id, first.source, first.subject) == ("set-1", "set", "things")
    assert first.explanation("cot", "human") == "Look up."
    assert second.explanation("cot", "human") is None
    assert dict(refused.counts) == {
        "column 'answer' is not one of 2 options counted from 0": 1,
    }


@pytest.mark.parametrize("names", [("choices",), ("first", "second")])
def test_rows_without_the_columns_of_options_ask_for_free_text(tmp_path, names):
    rows = [
        {"question": "Sky?", "choices": ["red", "blue"], "first": "red", "second": "blue",
         "answer": "blue"},
        {"question": "Sum?", "answer": "seventy"},
        {"question": "Sum?", "answer": "7"},
    ]  # fmt: skip
    files.write_jsonl(tmp_path / "a.jsonl", rows)
    refused = RefusedRows(None)
    with_options, free = read(tmp_path, refused, options=names)
    assert with_options.options == ("red", "blue")
    assert (free.options, free.answer) == ((), "seventy")
    assert [reason[:52] for reason in refused.counts] == [
        "column 'answer' contains a letter or number, but the"
    ]


@pytest.mark.parametrize("limit", [0, 1])
def test_columns_of_options_that_no_row_has_are_refused(tmp_path, limit):
    files.write_jsonl(tmp_path / "a.jsonl", [ROW | {"answer": "blue"}] * 3)
    source = SourceConfig(
        "set", str(tmp_path / "a.jsonl"), "columns", limit=limit,
        columns=ColumnsConfig(options=("wrong",)),
    )  # fmt: skip
    with pytest.raises(UserError, match="no row has a column wrong; the columns are question, ch"):
        list(reading.read_samples(source, "", RefusedRows(None)))


def test_the_error_for_a_missing_column_lists_the_existing_ones(tmp_path):
    files.write_jsonl(tmp_path / "a.jsonl", [ROW, ROW | {"extra": 1}])
    with pytest.raises(UserError, match=r"'set': no row has a column why; the columns are questi"):
        read(tmp_path, RefusedRows(None), options=CHOICES, cot="why")
    with pytest.raises(
        UserError, match=r"is \"no column 'q'; the columns are question, choices, a"
    ):
        read(tmp_path, RefusedRows(None), question="q")
