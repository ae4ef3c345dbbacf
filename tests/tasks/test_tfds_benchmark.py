"""A TFDS dataset as a benchmark, and as a source to annotate."""

import shutil

from teacherlm_jax.cli.main import main
from teacherlm_jax.config import BenchmarkConfig, ColumnsConfig, SourceConfig
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from tests.untrained import save_untrained


def test_rows_of_tfds_are_a_benchmark(builder):
    columns = ColumnsConfig(options=("votes",), answer="label")
    config = BenchmarkConfig("mine", str(builder), "columns", columns=columns)
    refused = RefusedRows(None)
    read = benchmarks.read(config, "", refused)
    assert [(question.context, question.gold) for question in read] == [
        ("Q: Good? (A) positive (B) negative A: The answer is (", 0),
        ("Q: Good? (A) positive (B) negative A: The answer is (", 1),
    ]
    assert refused.total == 1  # its class has no name


def test_the_digest_of_a_tfds_benchmark_covers_its_data(builder, tmp_path):
    copy = shutil.copytree(builder, tmp_path / "1.0.0")
    before = benchmarks.digest(BenchmarkConfig("mine", str(builder)), "")
    assert benchmarks.digest(BenchmarkConfig("mine", str(copy)), "") == before
    data = next(copy.glob("*.tfrecord*"))
    data.write_bytes(data.read_bytes() + b"x")
    assert benchmarks.digest(BenchmarkConfig("mine", str(copy)), "") != before


def test_rows_of_tfds_can_be_explained(builder):
    config = SourceConfig("toy", str(builder), "columns", columns=ColumnsConfig(answer="label"))
    samples = [sample for _, sample in SourceReading(config, "").first(RefusedRows(None))]
    assert [sample.answer for sample in samples] == ["negative", "positive"]


def test_the_command_evaluates_a_tfds_benchmark(builder, vocabulary, tmp_path):
    model = save_untrained(tmp_path / "model", vocabulary)
    (tmp_path / "config.py").write_text(
        "from teacherlm_jax.config import *\n\n"
        "def get_config(variant):\n"
        "    columns = ColumnsConfig(options=('votes',), answer='label')\n"
        f"    benchmark = BenchmarkConfig('mine', {str(builder)!r}, 'columns', columns=columns)\n"
        f"    return EvaluateConfig({str(tmp_path / 'run')!r}, '', {str(model)!r}, (benchmark,))\n"
    )
    assert main(["evaluate", f"--config={tmp_path / 'config.py'}"]) == 0
    measured = files.read_json(tmp_path / "run" / "result.json")["benchmarks"]["mine"]
    assert (measured["rows"], measured["refused"]) == (2, 1)
    rows = [row for _, row in files.read_jsonl(tmp_path / "run" / "mine.predictions.jsonl")]
    assert [row["gold"] for row in rows] == ["A", "B"]
    assert all(set(row["scores"]) == {"A", "B"} for row in rows)
    digest = files.read_json(tmp_path / "run" / "inputs.json")["benchmarks.mine"]
    config = BenchmarkConfig("mine", str(builder), "columns")
    assert digest == benchmarks.digest(config, "")
