"""A TFDS dataset as a benchmark, and as a source to annotate."""

from teacherlm_jax.config import BenchmarkConfig, ColumnsConfig, SourceConfig
from teacherlm_jax.evaluation import benchmarks
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage.refused_rows import RefusedRows


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
    assert benchmarks.digest(config, "") == benchmarks.digest(config, "")


def test_rows_of_tfds_can_be_explained(builder):
    config = SourceConfig("toy", str(builder), "columns", columns=ColumnsConfig(answer="label"))
    samples = [sample for _, sample in SourceReading(config, "").first(RefusedRows(None))]
    assert [sample.answer for sample in samples] == ["negative", "positive"]
