"""Raw rows to samples: the adapters on small rows and on the real sets."""

import datetime
import gzip
import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teacherlm_jax import files
from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data import formats, prompts
from teacherlm_jax.data.sample import LETTERS, Sample, SampleError, from_row, to_row
from teacherlm_jax.errors import UserError


def adapt(format, **row):
    return formats.to_sample(format, row, source="set", line=7, subject="things")


def read(folder, pattern="*.jsonl", *, usable=None, checked_only=False, **settings):
    refused = files.RefusedRows(folder / "refused.txt")
    config = SourceConfig(**{"name": "set", "path": pattern, "format": "cot"} | settings)
    try:
        read = formats.read_samples(
            config, str(folder), refused, checked_only=checked_only, usable=usable
        )
        samples = list(read)
    finally:
        refused.close()
    return samples, dict(refused.counts)


def write_rows(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


QUESTION = {"question": "Sky?\nOptions:\n- red\n- blue", "answer": "blue", "cot": "Look up."}


def test_options_written_with_dashes_leave_the_question():
    assert adapt("cot", **QUESTION) == Sample(
        id="set-7",
        question="Sky?",
        answer="(B)",
        options=("red", "blue"),
        subject="things",
        source="set",
        explanations={"cot": {"human": "Look up."}},
    )


def test_options_written_with_letters_lose_them():
    row = {"question": "2+2?\nOptions:\n(A) 3\n(B) 4", "answer": "(B)", "cot": ""}
    sample = adapt("cot", **row)
    assert (sample.question, sample.options, sample.answer) == ("2+2?", ("3", "4"), "(B)")


def test_rows_without_options_keep_their_answer_as_text():
    sample = adapt("cot", question="Is ice cold? ", answer="yes", cot="It is frozen.")
    assert (sample.question, sample.options, sample.answer) == ("Is ice cold?", (), "yes")


def test_the_word_options_inside_a_sentence_is_no_heading():
    row = {"question": "How many options: one or two?", "answer": "2", "cot": ""}
    assert adapt("cot", **row).options == ()


@pytest.mark.parametrize(
    ("format", "row", "reason"),
    [
        ("cot", QUESTION | {"answer": "green"}, "the answer is no option"),
        ("cot", QUESTION | {"question": "?\nOptions:\n(B) 3\n(A) 4"}, "a line below the question"),
        (
            "cot",
            {
                "question": "?\nOptions:\n" + "\n".join(f"({a}) x" for a in LETTERS + "A"),
                "answer": "x",
                "cot": "",
            },
            "a line below the question",
        ),
        ("cot", {"question": "?"}, "no answer"),
        ("creak", {"sentence": "Ice is hot.", "label": "maybe"}, "label 'maybe' is neither"),
        ("creak", {"label": "true"}, "no sentence"),
        ("strategyqa", {"facts": "x", "origin_question": "?"}, "facts are no list of texts"),
        (
            "strategyqa",
            {"facts": [], "origin_question": "?", "origin_answer": "yes"},
            "origin_answer 'yes' is neither",
        ),
        (
            "mmlu",
            {"question": "?", "subject": "law", "choices": [1, 2], "answer": "A"},
            "choices are no list of texts",
        ),
        (
            "mmlu",
            {"question": "?", "subject": "law", "choices": ["a", "b"], "answer": "C"},
            "the answer is no option",
        ),
    ],
)
def test_rows_that_make_no_sample_are_refused_with_a_reason(format, row, reason):
    with pytest.raises(SampleError) as refusal:
        adapt(format, **row)
    assert str(refusal.value).startswith(reason)


def test_mmlu_questions_stand_on_one_line_and_end_like_sentences():
    row = {"subject": "us_law", "idx": 3, "choices": ["a\nb", "c"], "answer": 1}
    sample = adapt("mmlu", question="One\ntwo", **row)
    assert prompts.question_prompt(sample, subject_prefix=True) == (
        "The following are multiple choice questions (with answers) about us law. "
        "Q: One two. (A) a b (B) c A: The answer is ("
    )
    assert (sample.id, sample.answer) == ("us_law-3", "(B)")
    for ended in ('One."', "One,", "One!", "One?", "One."):
        assert adapt("mmlu", question=ended, **row).question == ended


def test_strategyqa_prompts_are_the_authors_own(shared_data):
    for line, row in files.read_jsonl(shared_data / "eval" / "strategy_qa.jsonl"):
        sample = formats.to_sample("strategyqa", row, source="strategyqa", line=line)
        assert prompts.question_prompt(sample) == f"Q: {row['question']} A: The answer is ("
        assert sample.answer == row["answer"]


def test_creak_evaluation_rows_are_the_authors_own(shared_data):
    for line, row in files.read_jsonl(shared_data / "eval" / "creak.jsonl"):
        sample = formats.to_sample("creak", row, source="creak", line=line)
        assert prompts.question_prompt(sample) == f"Q: {row['question']} A: The answer is ("
        assert (sample.id, sample.answer) == (row["ex_id"], row["answer"])


def test_ecqa_prompts_are_the_authors_but_for_their_double_spaces(shared_data):
    for line, row in files.read_jsonl(shared_data / "eval" / "ecqa.jsonl"):
        sample = formats.to_sample("ecqa", row, source="ecqa", line=line)
        assert prompts.question_prompt(sample) == prompts.clean(row["test"])
        assert sample.answer == row["answer"]


def test_all_mmlu_rows_make_samples_with_57_subjects(shared_data):
    samples, refused = read(shared_data / "eval", "mmlu_test.jsonl", format="mmlu")
    assert (len(samples), refused) == (6949, {})
    assert len({sample.subject for sample in samples}) == 57


@pytest.mark.parametrize(
    ("name", "usable", "with_options", "refused"),
    [
        ("gsm8k", 7473, 0, {}),
        ("ecqa", 7050, 7050, {"the answer fits more than one option": 30}),
        ("creak", 6915, 4931, {}),
        ("aqua", 2728, 2728, {}),
        ("strategyqa", 1859, 0, {}),
    ],
)
def test_real_rationales_are_read_and_what_is_refused_is_counted(
    shared_data, tmp_path, name, usable, with_options, refused
):
    rejected = files.RefusedRows(tmp_path / "refused.jsonl")
    config = SourceConfig(name=name, path=f"rationale/{name}_train.jsonl", format="cot")
    samples = list(formats.read_samples(config, str(shared_data), rejected))
    rejected.close()
    assert len(samples) == usable
    assert sum(bool(sample.options) for sample in samples) == with_options
    assert dict(rejected.counts) == refused
    assert all(sample.explanation("cot", "human") for sample in samples)


def test_unusable_rows_go_to_the_side_file_with_file_line_and_reason(tmp_path):
    path = tmp_path / "a.jsonl"
    write_rows(path, QUESTION, QUESTION | {"answer": "green"})
    with path.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    samples, counts = read(tmp_path)
    assert [sample.id for sample in samples] == ["set-1"]
    entries = [entry for _, entry in files.read_jsonl(tmp_path / "refused.txt")]
    assert [(entry["line"], entry["file"]) for entry in entries] == [(2, str(path)), (3, str(path))]
    assert entries[0]["row"]["answer"] == "green"
    assert entries[1]["row"] == "{broken"
    assert sum(counts.values()) == 2


def test_a_second_row_of_the_same_id_is_refused(tmp_path):
    rows = [to_row(adapt("cot", **QUESTION))] * 2
    write_rows(tmp_path / "a.jsonl", *rows)
    samples, counts = read(tmp_path, format="sample")
    assert (len(samples), counts) == (1, {"an earlier row has the same id": 1})


def test_rows_of_several_files_have_ids_of_their_own_and_come_in_order(tmp_path):
    write_rows(tmp_path / "b.jsonl", QUESTION)
    write_rows(tmp_path / "a.jsonl", QUESTION, QUESTION)
    samples, _ = read(tmp_path)
    assert [sample.id for sample in samples] == ["set-a.jsonl-1", "set-a.jsonl-2", "set-b.jsonl-1"]


def test_files_of_one_name_in_several_folders_are_told_apart(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "train.jsonl", QUESTION)
    samples, counts = read(tmp_path, "*/train.jsonl")
    assert [sample.id for sample in samples] == ["set-one/train.jsonl-1", "set-two/train.jsonl-1"]
    assert counts == {}


def test_the_limit_counts_usable_rows(tmp_path):
    bad = QUESTION | {"answer": "green"}
    write_rows(tmp_path / "a.jsonl", bad, QUESTION, QUESTION, QUESTION, bad)
    samples, counts = read(tmp_path, limit=2)
    assert [sample.id for sample in samples] == ["set-2", "set-3"]
    assert sum(counts.values()) == 1


def test_a_source_without_a_usable_row_names_its_files_and_the_commonest_reason(tmp_path):
    write_rows(tmp_path / "a.jsonl", {"question": "?"}, {"question": "?"})
    with pytest.raises(
        UserError, match=r"a\.jsonl makes a usable sample .* 'no answer' \(2 rows\)"
    ):
        read(tmp_path)
    write_rows(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match="there are no rows"):
        read(tmp_path)


def test_an_unknown_format_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(
        UserError, match="source 'set': unknown format 'csv'; known: sample, columns, cot"
    ):
        read(tmp_path, format="csv")
    with pytest.raises(UserError, match="nowhere"):
        read(tmp_path, "nowhere.jsonl")


def annotated(gates, author="teacher"):
    texts = {"teacher": "Guess.", "human": "Look up."}
    row = to_row(adapt("cot", **QUESTION)) | {"explanations": {"cot": texts}}
    return row | {"annotations": {"cot": {"gates": gates, "author": author}}}


@pytest.mark.parametrize(
    ("gates", "left"),
    [
        ({"finished": True, "not_empty": True}, ["human", "teacher"]),
        ({"finished": True, "not_empty": False}, ["human"]),
        ({}, ["human", "teacher"]),
    ],
)
def test_an_explanation_that_failed_a_gate_is_left_out_and_the_others_stay(gates, left):
    sample = formats.without_failed(from_row(annotated(gates)))
    assert sorted(sample.explanations["cot"]) == left


@pytest.mark.parametrize(
    "changes",
    [
        {"explanations": None},
        {"explanations": ["x"]},
        {"explanations": {"cot": "s"}},
        {"annotations": 3},
        {"annotations": {"cot": {"gates": {"finished": True}}}},
    ],
)
def test_explanations_and_annotations_of_another_form_refuse_the_row_and_no_more(tmp_path, changes):
    good = annotated({"finished": False})
    write_rows(tmp_path / "a.jsonl", good | changes | {"id": "bad"}, good)
    for checked_only in (False, True):
        samples, counts = read(tmp_path, format="sample", checked_only=checked_only)
        assert [sample.id for sample in samples] == ["set-7"]
        assert sum(counts.values()) == 1


def test_half_a_character_refuses_the_row(tmp_path):
    row = to_row(adapt("cot", **QUESTION))
    write_rows(tmp_path / "a.jsonl", row, row | {"id": "bad", "question": "Sky? \ud83d"})
    samples, counts = read(tmp_path, format="sample")
    assert [sample.id for sample in samples] == ["set-7"]
    assert list(counts) == [r"question: not UTF-8 encodable, half a character, '\ud83d'"]


def test_rows_that_the_reader_has_no_use_for_are_refused_with_their_place(tmp_path):
    def usable(sample):
        if not sample.options:
            raise SampleError("no options to rank")

    open_question = {"question": "Why?", "answer": "so", "cot": ""}
    write_rows(tmp_path / "a.jsonl", QUESTION)
    write_rows(tmp_path / "b.jsonl", QUESTION, open_question, QUESTION)
    samples, counts = read(tmp_path, limit=3, usable=usable)
    assert [sample.id for sample in samples] == ["set-a.jsonl-1", "set-b.jsonl-1", "set-b.jsonl-3"]
    assert counts == {"no options to rank": 1}
    ((_, entry),) = files.read_jsonl(tmp_path / "refused.txt")
    assert (entry["file"], entry["line"]) == (str(tmp_path / "b.jsonl"), 2)
    write_rows(tmp_path / "a.jsonl", open_question)
    with pytest.raises(UserError, match=r"the commonest reason is 'no options to rank' \(1 rows\)"):
        read(tmp_path, "a.jsonl", usable=usable)


def test_the_reasons_of_another_source_are_not_given_for_an_empty_one(tmp_path):
    write_rows(tmp_path / "a.jsonl")
    refused = files.RefusedRows(None)
    refused.add("other.jsonl", 1, "no answer", {})
    with pytest.raises(UserError, match="there are no rows"):
        list(formats.read_samples(SourceConfig("set", "a.jsonl"), str(tmp_path), refused))


def seeded(folder, seed, limit, **settings):
    config = SourceConfig("set", "*.jsonl*", "cot", limit=limit, limit_by="seed", **settings)
    refused = files.RefusedRows(None)
    return [each.id for each in formats.read_samples(config, str(folder), refused, seed=seed)]


def numbered(count):
    return [QUESTION | {"question": f"{n}?\nOptions:\n- red\n- blue"} for n in range(count)]


def test_a_limit_by_seed_keeps_usable_rows_that_the_seed_and_their_ids_decide(tmp_path):
    bad = QUESTION | {"answer": "green"}
    write_rows(tmp_path / "a.jsonl", bad, *numbered(30))
    ids = [f"set-{line}" for line in range(2, 32)]
    ranks = {id: hashlib.sha256(f"7:{id}".encode()).hexdigest() for id in ids}
    kept = sorted(ids, key=ranks.get)[:5]
    assert seeded(tmp_path, 7, 5) == [id for id in ids if id in kept]
    assert seeded(tmp_path, 8, 5) != seeded(tmp_path, 7, 5)
    assert set(seeded(tmp_path, 7, 5)) < set(seeded(tmp_path, 7, 6))
    assert seeded(tmp_path, 7, 40) == ids


def test_a_limit_by_seed_does_not_depend_on_where_rows_stand(tmp_path):
    made = [formats.to_sample("cot", row, source="", line=n) for n, row in enumerate(numbered(30))]
    rows = [to_row(sample) for sample in made]
    for folder, order in (("one", rows), ("other", rows[::-1])):
        (tmp_path / folder).mkdir()
        write_rows(tmp_path / folder / "a.jsonl", *order[:11])
        write_rows(tmp_path / folder / "b.jsonl", *order[11:])
    drawn = {}
    for folder in ("one", "other"):
        config = SourceConfig("set", "*.jsonl", limit=9, limit_by="seed")
        read = formats.read_samples(config, str(tmp_path / folder), files.RefusedRows(None), seed=3)
        drawn[folder] = [sample.id for sample in read]
    assert sorted(drawn["one"]) == sorted(drawn["other"])
    assert drawn["one"] != drawn["other"]


def test_the_first_reading_decides_and_later_ones_give_the_same(tmp_path):
    rows = [to_row(adapt("cot", **row)) | {"id": str(n)} for n, row in enumerate(numbered(20))]
    write_rows(tmp_path / "a.jsonl", *rows[:9], {"broken": 1}, rows[3], *rows[9:])
    for settings in ({}, {"limit": 7}, {"limit": 7, "limit_by": "seed"}):
        reading = formats.SourceReading(SourceConfig("set", "a.jsonl", **settings), str(tmp_path))
        refused = files.RefusedRows(None)
        first = list(reading.first(refused))
        assert list(reading.again()) == list(reading.again()) == first
        assert reading.samples == len(first) == settings.get("limit", 20)
        assert refused.total == (0 if reading.config.limit_by == "first" and settings else 2)


class Words:
    """Counts a token a word."""

    begin = ()
    eos_id = 1

    def encode_batch(self, texts):
        return [[2] * len(text.split()) for text in texts]


def test_samples_longer_than_allowed_are_left_out_and_filed(tmp_path):
    rows = [{"question": "word " * (n % 5), "answer": "x", "cot": "long " * 9} for n in range(20)]
    rows[0], rows[1] = {"id": "twin"} | rows[3], {"id": "twin"} | rows[1]  # 7 tokens, 5 tokens
    write_rows(tmp_path / "a.jsonl", *[row | {"explanations": {}} for row in rows])
    for by, limit, wanted in (("first", 0, 8), ("first", 5, 5), ("seed", 5, 5)):
        config = SourceConfig("set", "a.jsonl", limit=limit, limit_by=by, max_tokens=6)
        reading = formats.SourceReading(config, str(tmp_path))
        refused = files.RefusedRows(None)
        first = list(reading.first(refused, vocabulary=Words()))
        # Q: and A: are words, and so is what ends a text
        assert all(2 + len(sample.question.split()) + 1 + 1 <= 6 for _, sample in first)
        assert len(first) == wanted
        assert refused.counts["longer than 6 tokens"] > 0
        assert list(reading.again()) == first
    with pytest.raises(UserError, match=r"source 'set': max_tokens=6, but nothing here counts"):
        list(formats.read_samples(config, str(tmp_path), files.RefusedRows(None)))


def test_a_limit_by_seed_measures_only_what_it_might_keep(tmp_path):
    measured = []
    write_rows(tmp_path / "a.jsonl", *numbered(1000))
    config = SourceConfig("set", "a.jsonl", "cot", limit=10, limit_by="seed")
    refused = files.RefusedRows(None)
    list(formats.read_samples(config, str(tmp_path), refused, usable=measured.append))
    assert 10 <= len(measured) < 200  # about 10 (1 + ln 100) of a thousand


def test_packed_files_and_tables_make_the_samples_that_lines_make(tmp_path):
    path = tmp_path / "a.jsonl"
    write_rows(path, *numbered(5), QUESTION | {"answer": "green"})
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    rows = [row for _, row in files.read_jsonl(path)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    wanted, counts = read(tmp_path, "a.jsonl")
    assert len(wanted) == 5 and counts == {"the answer is no option": 1}
    for name in ("b.jsonl.gz", "c.parquet"):
        assert read(tmp_path, name) == (wanted, counts)
        ((_, entry),) = files.read_jsonl(tmp_path / "refused.txt")
        assert (entry["file"], entry["line"]) == (str(tmp_path / name), 6)


def test_a_refused_row_that_is_no_json_is_filed_as_text(tmp_path):
    when = datetime.date(2024, 2, 29)
    table = pa.Table.from_pylist([{"question": "?", "answer": "x", "cot": "", "when": when}] * 2)
    table = table.set_column(1, "answer", pa.array(["x", ""]))
    pq.write_table(table, tmp_path / "a.parquet")
    samples, counts = read(tmp_path, "a.parquet")
    assert (len(samples), counts) == (1, {"empty answer": 1})
    ((_, entry),) = files.read_jsonl(tmp_path / "refused.txt")
    assert entry["row"]["when"] == "datetime.date(2024, 2, 29)"
