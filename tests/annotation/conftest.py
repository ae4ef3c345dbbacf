"""Untrained teachers whose vocabulary has the words of the samples."""

import pytest

from benchmarks import stub_teacher
from teacherlm_jax.annotation import beam_worker
from teacherlm_jax.config import (
    AnnotateConfig,
    SamplingConfig,
    SourceConfig,
    TeachersConfig,
)
from teacherlm_jax.data import prompts, synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.storage import files
from teacherlm_jax.storage.published_rows import PublishedRows
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.untrained import save_untrained


@pytest.fixture(scope="session")
def samples():
    """Eleven generated samples with the explanations of their generator."""
    return list(synthetic.generate(11, seed=3))


@pytest.fixture(scope="session")
def data(tmp_path_factory, samples):
    """A folder with the samples, a line that is not JSON, and a row without an answer."""
    folder = tmp_path_factory.mktemp("data")
    files.write_jsonl(folder / "samples.jsonl", [to_row(sample) for sample in samples])
    with (folder / "samples.jsonl").open("a") as file:
        file.write('{"id": "cut\n{"id": "open", "question": "Why?"}\n')
    return folder


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory, samples):
    texts = [
        "".join(piece.text for piece in prompts.explanation_pieces(sample, "cot"))
        for sample in samples
    ]
    return train_sentencepiece(texts, tmp_path_factory.mktemp("vocabulary"), size=400, seed=0)


@pytest.fixture(scope="session")
def teachers(tmp_path_factory, vocabulary):
    """Run folders of two models with the same shape and different parameters."""
    folders = [tmp_path_factory.mktemp(f"teacher{seed}") for seed in (0, 1)]
    return [save_untrained(folder, vocabulary, seed) for seed, folder in enumerate(folders)]


@pytest.fixture(scope="session")
def make_teacher():
    """A function that makes a teacher: folder, vocabulary, seed, and further model settings."""
    return save_untrained


@pytest.fixture(scope="session")
def make_config(data):
    """A function that makes a config for the samples: the teachers' folders by kind."""

    def make(**teachers):
        return AnnotateConfig(
            output="unused",
            root=str(data),
            source=SourceConfig("toys", "samples.jsonl"),
            teachers=TeachersConfig(**{kind: str(folder) for kind, folder in teachers.items()}),
            author="me",
            sampling=SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=6),
            gates=("finished", "not_empty", "synthetic"),
            seed=5,
            slots=8,
            rows_per_shard=4,
        )

    return make


@pytest.fixture
def stubbed(monkeypatch):
    """Replace the models of teachers by one that writes at once."""
    stub_teacher.install(patch=monkeypatch.setattr)


@pytest.fixture
def no_kept_teacher(monkeypatch):
    """Let Beam workers in this process begin without a teacher of an earlier test."""
    kept = beam_worker._KeptTeacher()
    monkeypatch.setattr(beam_worker, "_kept", kept)
    yield
    beam_worker._thread().call(kept.close).result()


@pytest.fixture
def at_row(monkeypatch):
    """Function that lets something happen before a row is written.

    It returns the id and the kind of all rows that have been written.
    """

    def install(number, happens):
        add, begun, written = PublishedRows.add, [], []

        def counting(rows, row):
            begun.append(row["id"])
            if len(begun) == number:
                happens()
            add(rows, row)
            written.append((row["id"], row["kind"]))

        monkeypatch.setattr(PublishedRows, "add", counting)
        return written

    return install
