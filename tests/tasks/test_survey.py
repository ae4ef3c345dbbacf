"""Survey of all sources of a preparation: figures, warnings and refused rows."""

import json
import logging
from pathlib import Path

import pytest

from teacherlm_jax.cli import flags
from teacherlm_jax.config import (
    ColumnsConfig,
    PrepareConfig,
    SourceConfig,
    VocabularyConfig,
    fields,
)
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.sample import from_row, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tasks.in_process import InProcess
from teacherlm_jax.tasks.preparation_engine import WorkFolder
from teacherlm_jax.tasks.survey import survey_all
from teacherlm_jax.tasks.trained_vocabulary import unsurveyed
from tests.make_run import make_run


def rows_of(*questions):
    return [{"question": question, "answer": "x"} for question in questions]


@pytest.fixture
def folder(tmp_path):
    """Two training sets and an evaluation set that share some questions."""
    files.write_jsonl(tmp_path / "one.jsonl", rows_of("A?", "B?", "a", "C?"))
    files.write_jsonl(tmp_path / "two-0.jsonl", rows_of("D?", "B"))
    files.write_jsonl(tmp_path / "two-1.jsonl", [*rows_of("E?"), {"question": "F?"}])
    files.write_jsonl(tmp_path / "test.jsonl", [{"q": "“c”"}, {"q": "z?"}, {"q": None}])
    return tmp_path


def make(folder, **settings):
    tested = ColumnsConfig(question="q", answer="q")
    defaults = {
        "output": str(folder / "out"),
        "root": str(folder),
        "sources": (
            SourceConfig("one", "one.jsonl", "columns"),
            SourceConfig("two", "two-*.jsonl", "columns"),
        ),
        "evaluation": (SourceConfig("test", "test.jsonl", "columns", columns=tested),),
        "vocabulary": VocabularyConfig(path=str(folder / "none")),
        "check_only": True,
    }
    return PrepareConfig(**defaults | settings)


def do(config, vocabulary=None):
    engine = InProcess(WorkFolder(Path(config.output)))
    return survey_all(config, make_run(config.output), engine, vocabulary)


def test_the_figures_count_the_rows_of_every_file(folder):
    survey = do(make(folder))
    reasons = {"no column 'answer'; the columns are question": 1}
    assert survey.refused == reasons
    assert survey.figures["sources"] == {
        "one": {str(folder / "one.jsonl"): {"read": 4, "used": 4, "refused": {}}},
        "two": {
            str(folder / "two-0.jsonl"): {"read": 2, "used": 2, "refused": {}},
            str(folder / "two-1.jsonl"): {"read": 2, "used": 1, "refused": reasons},
        },
    }
    refused = {"column 'q' is null": 1}
    assert survey.figures["evaluation"] == {
        "test": {str(folder / "test.jsonl"): {"read": 3, "used": 2, "refused": refused}}
    }
    assert json.loads(json.dumps(survey.figures)) == survey.figures
    assert [source.samples for source in survey.sources] == [4, 3]
    with pytest.raises(ValueError, match="did not keep the samples of 'two'"):
        next(survey.sources[1].read())
    kept = do(make(folder, check_only=False)).sources[1]
    assert [sample.question for sample in kept.read()] == ["D?", "B", "E?"]


def test_refused_rows_of_training_and_evaluation_go_to_different_files(folder):
    do(make(folder))
    ((_, entry),) = files.read_jsonl(folder / "out" / "refused.jsonl")
    assert (entry["file"], entry["line"]) == (str(folder / "two-1.jsonl"), 2)
    ((_, entry),) = files.read_jsonl(folder / "out" / "evaluation.refused.jsonl")
    assert (entry["file"], entry["line"]) == (str(folder / "test.jsonl"), 3)


def test_duplicates_and_contamination_are_reported(folder, caplog):
    with caplog.at_level(logging.INFO):
        survey = do(make(folder))
    one, two, test = (folder / f"{name}.jsonl" for name in ("one", "two-0", "test"))
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        f"one: duplicate samples: 1, for example {one}:3 = {one}:1",
        f"two: duplicates of samples in one: 1, for example {two}:2 = {one}:2",
        (
            "one: questions that also appear in the evaluation set test (contamination): 1, "
            f"for example {one}:4 = {test}:1"
        ),
    ]
    assert survey.figures["twice"] == [
        {"source": "one", "other": "one", "count": 1, "first": [[f"{one}:3", f"{one}:1"]]},
        {"source": "two", "other": "one", "count": 1, "first": [[f"{two}:2", f"{one}:2"]]},
    ]
    assert survey.figures["evaluated"] == [
        {"source": "one", "other": "test", "count": 1, "first": [[f"{one}:4", f"{test}:1"]]}
    ]


def test_all_duplicates_and_contaminated_samples_are_listed(folder):
    files.write_jsonl(folder / "one.jsonl", rows_of("A?", "B?", *["a"] * 5, "C?", "C?"))
    do(make(folder))
    listed = [row for _, row in files.read_jsonl(folder / "out" / "overlaps.jsonl")]
    places = [(row["kind"], row["source"], row["line"], row["other_line"]) for row in listed]
    assert places == [
        *(("duplicate", "one", line, 1) for line in range(3, 8)),
        ("duplicate", "one", 9, 8),
        ("duplicate", "two", 2, 2),
        *(("evaluation", "one", line, 1) for line in (8, 9)),
    ]
    assert listed[-1] == {
        "kind": "evaluation",
        "source": "one",
        "file": str(folder / "one.jsonl"),
        "line": 9,
        "other": "test",
        "other_file": str(folder / "test.jsonl"),
        "other_line": 1,
    }
    files.write_jsonl(folder / "one.jsonl", rows_of("A?"))
    do(make(folder))
    assert not (folder / "out" / "overlaps.jsonl").exists()


def test_only_a_check_logs_the_counts_of_every_file(folder, caplog):
    line = f"  {folder / 'two-1.jsonl'}: 2 rows read, 1 used, 1 refused"
    for check_only in (True, False):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            do(make(folder, check_only=check_only))
        assert "two: 3 samples" in caplog.messages
        assert (line in caplog.messages) is check_only


def test_a_check_logs_ten_of_many_files(folder, caplog):
    good, bad = {"question": "?", "answer": "x", "cot": "Because."}, {"answer": "x"}
    for number in range(50):
        refused = number if number >= 40 else number % 2
        files.write_jsonl(folder / f"shard-{number:02d}.jsonl", [good, *[bad] * refused])
    source = SourceConfig("shards", "shard-*.jsonl", "cot")
    with caplog.at_level(logging.INFO):
        do(make(folder, sources=(source,), check_only=True))
    shown = [line for line in caplog.messages if line.startswith(f"  {folder}/shard")]
    assert shown == [
        f"  {folder}/shard-{number}.jsonl: {number + 1} rows read, 1 used, {number} refused"
        for number in range(40, 50)
    ]
    assert f"  40 more files with 20 rows refused; see {folder}/out/check.json" in caplog.messages


def test_the_warning_about_placeholders_names_the_key_that_drops_them(folder, caplog):
    row = {"question": "?", "answer": "x", "cot": "N/A."}
    files.write_jsonl(folder / "placeholders.jsonl", [row])
    source = SourceConfig("odd", "placeholders.jsonl", "cot")
    do(make(folder, sources=(source,)))
    warning = "odd: 1 of 1 explanations of the kind cot are placeholders such as 'N/A.'; set "
    assert f"{warning}drop_placeholders to leave them out" in caplog.messages


def test_a_limit_by_seed_uses_the_seed_of_the_preparation(folder):
    sources = (SourceConfig("one", "*-?.jsonl", "columns", limit=1, limit_by="seed"),)
    drawn = set()
    for seed in range(8):
        config = make(folder, sources=sources, seed=seed, check_only=False)
        drawn |= {sample.id for sample in do(config).sources[0].read()}
    assert len(drawn) > 1


def test_max_tokens_needs_a_vocabulary_except_in_a_check(root, vocabulary, tmp_path, caplog):
    samples = [from_row(row) for _, row in files.read_jsonl(root / "small.jsonl")]
    texts = [prompts.pieces(sample, "text", "") for sample in samples]
    lengths = [len(packing.encode_pieces(text, vocabulary, "text").tokens) for text in texts]
    longest = sorted(lengths)[9]
    sources = (SourceConfig("small", "small.jsonl", max_tokens=longest),)
    config = make(tmp_path, root=str(root), sources=sources, evaluation=())
    assert do(config).sources[0].samples == 20
    warning = "is ignored: counting tokens needs the vocabulary, which has not been trained yet"
    assert f"max_tokens of 1 source, for example small, {warning}" in caplog.messages
    caplog.clear()
    config.check_only = False
    source = do(config, vocabulary).sources[0]
    assert warning not in caplog.text
    short = [sample for sample, length in zip(samples, lengths, strict=True) if length <= longest]
    assert list(source.read()) == short
    assert (source.samples, source.refused) == (len(short), 20 - len(short))
    with pytest.raises(
        UserError, match=f"'small': max_tokens={longest}, but there is no vocabulary"
    ):
        do(config)


def test_a_vocabulary_can_be_trained_on_all_samples_before_the_survey(folder, root):
    samples = unsurveyed(make(folder))
    assert [sample.question for sample in samples] == ["A?", "B?", "a", "C?", "D?", "B", "E?"]
    sources = (SourceConfig("small", "small.jsonl", max_tokens=1),)
    rows = [row for _, row in files.read_jsonl(root / "small.jsonl")]
    assert [to_row(sample) for sample in unsurveyed(make(root, sources=sources))] == rows


def test_a_check_needs_no_mixtures_and_has_a_short_flag(folder):
    path = folder / "mine.py"
    path.write_text(
        "from teacherlm_jax.config import *\n"
        "def get_config(variant):\n"
        "    return PrepareConfig(output='o', sources=(SourceConfig('a', 'a.jsonl', 'columns'),),\n"
        "        vocabulary=VocabularyConfig('v'))\n"
    )
    for flag in ("--check_only", "--config.check_only", "--config.check_only=True"):
        assert flags.load([f"--config={path}", flag], (PrepareConfig,)).config.check_only
    named = "--config.sources[0].columns.question=prompt"
    config = flags.load([f"--config={path}", "--check_only", named], (PrepareConfig,)).config
    assert config.sources[0].columns.question == "prompt"
    with pytest.raises(UserError, match=r"config.mixtures: empty"):
        flags.load([f"--config={path}"], (PrepareConfig,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ColumnsConfig(cot="why")}, "columns: used only by the format 'columns'"),
        ({"format": "columns", "columns": ColumnsConfig(question="")}, "columns.question: empty"),
        ({"format": "columns", "columns": ColumnsConfig(options=("",))}, "contains an empty name"),
        (
            {"format": "columns", "columns": ColumnsConfig(cot="c", author="")},
            "columns.author: empty; explanations are stored by author",
        ),
        ({"reader": "xml"}, "sources[0].reader: expected one of"),
        ({"limit_by": "sead"}, "did you mean 'seed'?"),
    ],
)
def test_invalid_settings_of_a_source_are_refused(folder, settings, message):
    config = make(folder, sources=(SourceConfig("a", "a.jsonl", **settings),))
    with pytest.raises(UserError) as raised:
        fields.check(config)
    assert message in str(raised.value)
