"""Explanations of a file that are added to the samples of a source."""

import json
import pickle
import re

import pytest

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

ROWS = [
    {"id": "a", "question": "Why?", "answer": "So.", "explanations": {"cot": {"human": "Thus."}}},
    {"id": "b", "question": "How?", "answer": "Thus."},
    {"id": 3, "question": "Who?", "answer": "Me."},
    {"id": "open", "question": "What?"},
]
TEXTS = [
    {"id": "a", "kind": "cot", "author": "davinci", "text": "Since it is so."},
    {"id": 3, "kind": "mistake", "author": "Ann", "text": "It is “you”."},
    {"id": "a", "kind": "mistake", "author": "Ann", "text": "Because."},
    {"id": "b", "kind": "cot", "author": "davinci", "text": "n/a"},
]


def reading_of(folder, texts, rows=ROWS, **settings):
    files.write_jsonl(folder / "rows.jsonl", rows)
    lines = (text if isinstance(text, str) else json.dumps(text) for text in texts)
    (folder / "texts.jsonl").write_text("".join(f"{line}\n" for line in lines))
    config = SourceConfig("mine", "rows.jsonl", explanations="texts.jsonl", **settings)
    return SourceReading(config, str(folder), seed=1)


def samples_of(reading):
    return [sample for _, sample in reading.first(RefusedRows(None))]


def refusal(folder, texts, **settings):
    with pytest.raises(UserError) as caught:
        samples_of(reading_of(folder, texts, **settings))
    return str(caught.value)


def test_explanations_are_beside_those_of_the_rows(tmp_path):
    reading = reading_of(tmp_path, TEXTS)
    first, second, third = samples_of(reading)
    assert first.explanations == {
        "cot": {"human": "Thus.", "davinci": "Since it is so."},
        "mistake": {"Ann": "Because."},
    }
    assert second.explanations == {"cot": {"davinci": "n/a"}}
    assert third.explanations == {"mistake": {"Ann": "It is “you”."}}
    assert reading.imported == {"cot": {"davinci": 2}, "mistake": {"Ann": 2}}
    assert any("placeholder" in warning for warning in reading.warnings)


def test_every_reading_has_them_in_this_process_and_in_another(tmp_path):
    reading = reading_of(tmp_path, TEXTS)
    samples = samples_of(reading)
    assert [sample for _, sample in reading.again()] == samples
    assert [sample for _, sample in pickle.loads(pickle.dumps(reading)).again()] == samples


def test_filters_of_explanations_apply_to_them_too(tmp_path):
    reading = reading_of(tmp_path, TEXTS, drop_placeholders=True)
    _, second, _ = samples_of(reading)
    assert second.explanations == {"cot": {}}
    assert reading.imported == {"cot": {"davinci": 1}, "mistake": {"Ann": 2}}


def test_blank_texts_are_left_out_and_counted(tmp_path):
    reading = reading_of(
        tmp_path, [TEXTS[0] | {"text": " "}, TEXTS[0] | {"id": "none", "text": ""}]
    )
    assert samples_of(reading)[0].explanations == ROWS[0]["explanations"]
    assert reading.warnings == ["further explanations that are blank, left out: 2"]


@pytest.mark.parametrize("limit_by", ["first", "seed"])
def test_a_limit_leaves_explanations_of_other_rows_out(tmp_path, limit_by):
    reading = reading_of(tmp_path, TEXTS, limit=1, limit_by=limit_by)
    (sample,) = samples_of(reading)
    assert sample.explanations
    imported = {
        kind: {author: 1}
        for kind, texts in sample.explanations.items()
        for author in texts
        if author != "human"
    }
    assert reading.imported == imported


def test_files_of_explanations_count_as_files_of_the_source(tmp_path):
    reading = reading_of(tmp_path, TEXTS)
    samples_of(reading)
    assert [path.name for path in reading.rows.beside] == ["texts.jsonl"]


def test_a_glob_names_several_files(tmp_path):
    reading = reading_of(tmp_path, TEXTS[:2])
    files.write_jsonl(tmp_path / "texts2.jsonl.gz", [])
    (tmp_path / "texts2.jsonl.gz").unlink()
    files.write_jsonl(tmp_path / "texts2.jsonl", TEXTS[2:])
    reading.config.explanations = "texts*.jsonl"
    samples_of(reading)
    assert reading.imported == {"cot": {"davinci": 2}, "mistake": {"Ann": 2}}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ({"id": "a", "kind": "cot", "author": "x"}, "text is missing"),
        (TEXTS[0] | {"id": " "}, "id is empty"),
        (TEXTS[0] | {"text": ["x"]}, "text is a list"),
        (TEXTS[0] | {"author": ""}, "author is empty"),
        (TEXTS[0] | {"id": 1.5}, "id is a fraction"),
        (TEXTS[0] | {"text": "\ud800"}, "text has half a surrogate"),
        (TEXTS[0] | {"kind": "chain"}, "kind 'chain', expected one of cot, fundamental, mistake"),
    ],
)
def test_a_line_that_is_no_explanation_is_named(tmp_path, line, problem):
    assert re.match(
        rf"{tmp_path}/texts.jsonl:2: {problem}", refusal(tmp_path, [TEXTS[1], line, "{"])
    )


def test_a_second_text_of_an_author_is_refused_with_both_lines(tmp_path):
    message = refusal(tmp_path, [*TEXTS, TEXTS[1] | {"id": "3"}])
    place = f"{tmp_path}/texts.jsonl"
    assert message == (
        f"{place}:5: mistake of '3' by 'Ann' is also in {place}:2; keep one of the two lines"
    )


def test_a_text_in_place_of_one_of_the_rows_is_refused(tmp_path):
    message = refusal(tmp_path, [TEXTS[0] | {"author": "human"}])
    assert f"{tmp_path}/texts.jsonl:1: the sample 'a' of the source already has a cot" in message


def test_ids_that_no_sample_has_are_refused_in_one_line(tmp_path):
    unknown = [TEXTS[0] | {"id": id} for id in ("open", "x", "y")]
    message = refusal(tmp_path, [TEXTS[1], *unknown])
    assert message == (
        f"{tmp_path}/texts.jsonl:2: the source 'mine' has no usable sample with the id 'open' (and "
        "2 further lines name no sample); correct the id, or remove the line"
    )
    assert "\n" not in message


def test_other_files_than_jsonl_are_refused(tmp_path):
    reading = reading_of(tmp_path, TEXTS)
    (tmp_path / "texts.csv").write_text("id\n")
    for name, problem in (("texts.csv", "expected a jsonl file"), ("none.jsonl", "no file")):
        reading.config.explanations = name
        with pytest.raises(UserError, match=problem):
            samples_of(reading)
