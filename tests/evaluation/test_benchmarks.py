"""Reading of benchmark files, and invalid benchmark configs."""

import logging

import pytest

from teacherlm_jax.config import BenchmarkConfig, ColumnsConfig, EvaluateConfig, fields
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows


@pytest.fixture
def refused(tmp_path):
    side_file = RefusedRows(tmp_path / "refused.jsonl")
    yield side_file
    side_file.close()


def test_samples_without_options_are_refused_and_counted(tmp_path, refused):
    rows = [
        {"id": "open", "question": "6 * 7?", "answer": "42"},
        {"id": "closed", "question": "6 * 7?", "answer": "42", "options": ["41", "42"]},
        {"id": "broken", "question": "6 * 7?", "answer": "43", "options": ["41", "42"]},
    ]
    files.write_jsonl(tmp_path / "set.jsonl", rows)
    benchmark = BenchmarkConfig(name="set", path="set.jsonl")
    questions = benchmarks.read(benchmark, str(tmp_path), refused)
    assert [question.id for question in questions] == ["closed"]
    assert refused.total == 2
    path = str(tmp_path / "set.jsonl")
    assert next(row for _, row in files.read_jsonl(refused.path)) == {
        "file": path,
        "line": 1,
        "reason": "no options to rank; add them to the row, or name their columns in "
        "columns.options",
        "row": rows[0],
    }


def test_a_benchmark_without_any_options_is_an_error(tmp_path, refused):
    files.write_jsonl(tmp_path / "set.jsonl", [{"id": "1", "question": "6 * 7?", "answer": "42"}])
    with pytest.raises(UserError, match="set.jsonl .*no options to rank"):
        benchmarks.read(BenchmarkConfig(name="set", path="set.jsonl"), str(tmp_path), refused)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([{"name": ""}], r"config.benchmarks\[0\].name: empty"),
        ([{"name": "a"}, {"name": "../x"}], r"benchmarks\[1\].name: '../x' cannot name a file"),
        ([{"name": "a$b"}], "cannot name a file; use letters, digits"),
        ([{"name": "a"}, {"name": "b"}, {"name": "a"}], "benchmarks: .*'a'"),
        ([{"name": "a", "format": "race"}], r"benchmarks\[0\].format: .*'sample'.*'race'"),
        ([{"name": "a", "style": "author"}], "did you mean 'authors'"),
        (
            [{"name": "a", "drop_placeholders": True}],
            r"benchmarks\[0\].drop_placeholders: set, but",
        ),
        ([{"name": "a", "max_tokens": 9}], r"benchmarks\[0\].max_tokens: 9, but long"),
        ([{"name": "a", "style": "authors", "score": "texts"}], r"score: .* choose style='clean'"),
    ],
)
def test_invalid_benchmark_configs_are_refused(settings, message):
    sets = tuple(BenchmarkConfig(**{"path": "x.jsonl", **keys}) for keys in settings)
    with pytest.raises(UserError, match=message):
        fields.check(EvaluateConfig(output="o", model="m", benchmarks=sets))
    fields.check(EvaluateConfig(output="o", model="m", benchmarks=(BenchmarkConfig("a", "x"),)))


def test_a_csv_with_named_columns_is_a_benchmark(tmp_path, refused):
    text = "q,a,b,right\n6 * 7?,41,42,b\nUp?,no,yes,a\n"
    (tmp_path / "set.csv").write_text(text)
    columns = ColumnsConfig(question="q", options=("a", "b"), answer="right", answer_is="letter")
    benchmark = BenchmarkConfig("set", "set.csv", "columns", columns=columns)
    fields.check(benchmark)
    read = benchmarks.read(benchmark, str(tmp_path), refused)
    assert [(question.context, question.gold) for question in read] == [
        ("Q: 6 * 7? (A) 41 (B) 42 A: The answer is (", 1),
        ("Q: Up? (A) no (B) yes A: The answer is (", 0),
    ]


def test_the_digest_of_a_benchmark_depends_on_its_content_and_not_on_its_path(tmp_path):
    rows = [{"id": "1", "question": "Up?", "answer": "A", "options": ["yes", "no"]}]
    for name in ("a-1.jsonl", "a-2.jsonl", "b.jsonl"):
        files.write_jsonl(tmp_path / name, rows)
    single, other, several = (
        benchmarks.digest(BenchmarkConfig("x", path), str(tmp_path))
        for path in ("a-1.jsonl", "b.jsonl", "a-*.jsonl")
    )
    assert single == other == files.file_digest(tmp_path / "b.jsonl")
    files.write_jsonl(tmp_path / "a-2.jsonl", [*rows, *rows])
    assert benchmarks.digest(BenchmarkConfig("x", "a-*.jsonl"), str(tmp_path)) != several


def test_placeholders_among_explanations_are_not_mentioned(tmp_path, caplog):
    rows = [
        {"id": str(number), "question": f"Which {number}?", "answer": "(A)", "options": ["a", "b"]}
        | {"explanations": {"cot": {"human": "n/a"}}}
        for number in range(3)
    ]
    files.write_jsonl(tmp_path / "mine.jsonl", rows)
    log = logging.getLogger("teacherlm_jax")
    config = BenchmarkConfig("mine", "mine.jsonl")
    with caplog.at_level(logging.INFO, log.name):
        read = benchmarks.read(config, str(tmp_path), RefusedRows(None), log)
    assert len(read) == 3
    assert "placeholders" not in caplog.text
