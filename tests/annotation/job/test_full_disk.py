"""An annotation whose disk is full for a while ends with the same bytes."""

import pytest

from teacherlm_jax.annotation.job import job
from teacherlm_jax.annotation.shards import shards
from teacherlm_jax.annotation.shards.shards import ShardTexts
from teacherlm_jax.storage import files
from tests.limited_file_size import limited_file_size
from tests.make_run import make_run

_SIZE = 1200  # bytes: more than one explanation with its provenance, less than a shard of them


def _contents(folder):
    paths = [path for part in ("texts", "samples") for path in (folder / part).rglob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def finished(make_config, teachers, tmp_path_factory):
    """The config and the folder of a job that had room for everything."""
    folder = tmp_path_factory.mktemp("finished")
    config = make_config(cot=teachers[0])
    job.annotate(config, make_run(folder))
    return config, folder


def test_a_line_that_the_disk_cuts_off_is_written_again(finished, tmp_path, monkeypatch):
    config, folder = finished
    add = ShardTexts.add

    def limited(self, row):
        with limited_file_size(_SIZE):  # no longer, since other files may be larger
            return add(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(ShardTexts, "add", limited)
        with pytest.raises(OSError, match="File too large") as error:
            job.annotate(config, make_run(tmp_path))
    partial = tmp_path / "texts/cot" / error.value.filename.rpartition("/")[2]
    assert partial.name.endswith(".partial")
    *whole, torn = partial.read_bytes().split(b"\n")
    assert whole and torn and len(partial.read_bytes()) == _SIZE
    written = {row["id"] for _, row in files.read_jsonl(partial) if isinstance(row, dict)}

    result = job.annotate(config, make_run(tmp_path))
    assert result["texts"] <= 11 - len(written)
    assert _contents(tmp_path) == _contents(folder)


def test_a_shard_that_does_not_fit_as_a_whole_is_completed_without_generating_again(
    finished, tmp_path, monkeypatch
):
    config, folder = finished

    def full(path, rows):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shards, "create_jsonl", full)
        with pytest.raises(OSError, match="No space left on device"):
            job.annotate(config, make_run(tmp_path))
    assert not list((tmp_path / "texts/cot").glob("*.jsonl"))
    partial = (tmp_path / "texts/cot").glob("*.partial")
    written = sum(len(path.read_text().splitlines()) for path in partial)
    assert written >= config.rows_per_shard
    result = job.annotate(config, make_run(tmp_path))
    assert result["texts"] == 11 - written
    assert _contents(tmp_path) == _contents(folder)
