"""Warnings about a source's config, and the keys that they name."""

import logging

import pytest

from teacherlm_jax.config import ColumnsConfig, SourceConfig
from teacherlm_jax.sources.explanation_filters import is_placeholder
from teacherlm_jax.sources.reading import SourceReading, read_samples
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows


def first(folder, rows, *, source=None, **columns):
    files.write_jsonl(folder / "a.jsonl", rows)
    named = ColumnsConfig(**columns)
    config = SourceConfig("set", "a.jsonl", "columns", columns=named, **(source or {}))
    reading = SourceReading(config, str(folder))
    samples = [sample for _, sample in reading.first(RefusedRows(None))]
    assert [sample for _, sample in reading.again()] == samples
    return samples, reading.warnings


def numbered(answers, options=("x", "y", "z")):
    return [
        {"question": f"{n}?", "options": list(options), "answer": answer}
        for n, answer in enumerate(answers)
    ]


@pytest.mark.parametrize("kind", [int, float, str])
def test_answers_that_seem_to_be_counted_from_1_give_a_warning(tmp_path, kind):
    rows = numbered([kind(n) for n in (1, 2, 3)])
    _, warnings = first(tmp_path, rows, options=("options",))
    assert warnings == [
        (
            "all 3 answers are numbers from 1 to 3, and none is 0, with up to 3 options; set "
            "columns.first=1 if they are counted from 1"
        )
    ]
    samples, warnings = first(tmp_path, rows, options=("options",), first=1)
    assert [sample.answer for sample in samples] == ["(A)", "(B)", "(C)"] and not warnings


@pytest.mark.parametrize("answers", [[0, 1, 2], [1, 2], ["A", "B", "C"], ["x", "y"], [0, 3]])
def test_other_answers_give_no_warning(tmp_path, answers):
    assert first(tmp_path, numbered(answers), options=("options",))[1] == []


def test_many_answers_without_a_0_give_a_warning(tmp_path):
    assert len(first(tmp_path, numbered([1, 2] * 5), options=("options",))[1]) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("n/a", "N/A.", "none", "None.", " - ", "null", "NaN", "(none)", "--", "Not available."),
        *("TODO", "TODO: explain why", "tbd", "...", "[explanation]", "<Your explanation here>"),
        *("The explanation will be added later.", "I have no explanation.", "to be added"),
        *("???", "Reason:", "[redacted]", "Coming soon.", "See above.", "I don't know."),
        *("Explanation goes here.", "Insert explanation", "lorem ipsum dolor sit amet", "***"),
    ],
)
def test_placeholders_are_recognised(text):
    assert is_placeholder(text)


@pytest.mark.parametrize(
    "text",
    [
        *("None of the birds fly.", "0", "no", "", "  ", "x", "A", "-1"),
        *(
            "To do this, add both.",
            "The explanation is here: it rains.",
            "Unknown to him, it fell.",
            "See above the door.",
        ),
        *("The answer is here.", "A todo list names tasks."),
    ],
)
def test_short_explanations_are_not_placeholders(text):
    assert not is_placeholder(text)


def test_placeholders_are_counted_and_a_key_drops_them(tmp_path):
    rows = [
        {"question": f"{n}?", "answer": "x", "why": why}
        for n, why in enumerate(["n/a", "N/A.", "none", "-", "Look up.", ""])
    ]
    samples, warnings = first(tmp_path, rows, cot="why")
    assert samples[0].explanation("cot", "human") == "n/a"
    assert warnings == [
        (
            "4 of 5 explanations of the kind cot are placeholders such as 'n/a'; set "
            "drop_placeholders to leave them out"
        )
    ]
    samples, warnings = first(tmp_path, rows, cot="why", source={"drop_placeholders": True})
    texts = [sample.explanation("cot", "human") for sample in samples]
    assert texts == [None] * 4 + ["Look up.", None]
    assert warnings[0].endswith("placeholders such as 'n/a'; they are left out")


def test_marks_of_options_and_answers_give_warnings_and_can_be_removed(tmp_path):
    rows = [{"question": "2+3?", "options": ["A)5", "B)6"], "answer": "so\n#### A"}]
    _, warnings = first(tmp_path, rows, answer="answer")
    assert warnings == [
        (
            "1 of 1 answers contain '####'; set columns.answer_after='####' in the format "
            "'columns' if it precedes the final answer"
        )
    ]
    samples, warnings = first(tmp_path, rows, options=("options",), answer_after="####")
    assert samples[0].options == ("A)5", "B)6")
    assert warnings == [
        (
            "the options of 1 of 1 samples begin with marks such as 'A)'; set columns.strip_marks "
            "in the format 'columns' to remove them"
        )
    ]
    samples, warnings = first(
        tmp_path, rows, options=("options",), answer_after="####", strip_marks=True
    )
    assert (samples[0].options, samples[0].answer, warnings) == (("5", "6"), "(A)", [])


def test_reading_samples_once_logs_the_warnings(tmp_path, caplog):
    files.write_jsonl(tmp_path / "a.jsonl", [{"question": "?", "answer": "x", "cot": "n/a"}])
    config = SourceConfig("set", "a.jsonl", "cot")
    log = logging.getLogger("test")
    assert len(list(read_samples(config, str(tmp_path), RefusedRows(None), log=log))) == 1
    assert caplog.messages[0].startswith("set: 1 of 1 explanations of the kind cot are placeholder")
