"""`prepare` reads its sources once, however many forms and mixtures it writes."""

import collections
from pathlib import Path

import pytest

from teacherlm_jax.config import MixtureConfig, PrepareConfig, SourceConfig, VocabularyConfig
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.tasks.prepare import prepare
from tests.make_run import make_run


def make(root, output, **settings):
    """Return a config with two mixtures of three forms, and a vocabulary to be trained."""
    values = {
        "output": str(output),
        "root": str(root),
        "sources": (
            SourceConfig("big", "big.jsonl"),
            SourceConfig("small", "small.jsonl", limit=15, limit_by="seed"),
        ),
        "mixtures": tuple(
            MixtureConfig(name, forms=("text", "C", "CMF"), author="program", loss=loss)
            for name, loss in (("whole", "text"), ("answers", "answer"))
        ),
        "vocabulary": VocabularyConfig(str(output / "vocabulary"), size=600),
        "length": 256,
    }
    return PrepareConfig(**values | settings)


@pytest.fixture
def passes(root, monkeypatch):
    """Counter of how often each source file is opened, and of the rows that are parsed."""
    counts, opened, parse_lines = collections.Counter(), files.opened, files.parse_lines

    def counting_opened(path, *rest):
        if str(path).startswith(str(root)):
            counts[Path(path).name] += 1
        return opened(path, *rest)

    def counting_lines(lines):
        for row in parse_lines(lines):
            counts["rows"] += 1
            yield row

    monkeypatch.setattr(files, "opened", counting_opened)
    monkeypatch.setattr(files, "parse_lines", counting_lines)
    return counts


def do(config):
    return prepare(config, make_run(config.output))


def test_one_pass_serves_vocabulary_survey_digests_forms_and_mixtures(root, tmp_path, passes):
    result = do(make(root, tmp_path))
    assert passes == {"big.jsonl": 1, "small.jsonl": 1, "rows": 80}
    assert result["mixtures"]["whole"]["texts"] == result["mixtures"]["answers"]["texts"] == 225
    assert not (tmp_path / layout.WORK).exists()


def test_max_tokens_needs_a_second_pass_only_to_train_the_vocabulary(root, tmp_path, passes):
    sources = (SourceConfig("big", "big.jsonl", max_tokens=1000),)
    do(make(root, tmp_path, sources=sources))
    assert passes == {"big.jsonl": 2, "rows": 120}
    passes.clear()
    do(make(root, tmp_path, sources=sources))
    assert passes == {"big.jsonl": 1, "rows": 60}


def test_a_check_reads_once_and_keeps_no_samples(root, tmp_path, passes):
    assert do(make(root, tmp_path, check_only=True)) is None
    assert passes == {"big.jsonl": 1, "small.jsonl": 1, "rows": 80}
    assert [path.name for path in tmp_path.iterdir()] == [layout.CHECK]
