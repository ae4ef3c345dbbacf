"""The partial files of open shards, when they are closed at the end."""

import logging
import re
import tempfile
from pathlib import Path

import pytest

from teacherlm_jax.annotation.shards.open_shards import OpenShards
from teacherlm_jax.errors import Interrupted, StoreError

LOG = logging.getLogger("test")


class _Shard:
    """A shard that cannot be closed if it has an error."""

    def __init__(self, error=None):
        self.error, self.closed = error, False

    def publish(self):
        pass

    def close(self):
        self.closed = True
        if self.error:
            raise self.error


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def _kept(text):
    """Return the explanations in the folder that a message names."""
    found = re.search(r"explanations that are not in the bucket yet are in (\S+):", text)
    return (Path(found[1]) / "bucket" / "texts.jsonl").read_text()


def _write(folder, then=None):
    (folder / "bucket").mkdir()
    (folder / "bucket" / "texts.jsonl").write_text("an explanation")
    if then:
        raise then


def test_a_second_signal_while_files_are_uploaded_keeps_the_explanations(caplog):
    shards = OpenShards({0: _Shard(Interrupted("again"))})
    with pytest.raises(Interrupted, match="again"), shards.publishing(LOG) as folder:
        _write(folder, then=Interrupted("first"))
    assert _kept(caplog.text) == "an explanation"


def test_every_shard_is_closed_and_the_first_refusal_ends_the_work():
    shards = [_Shard(StoreError("first")), _Shard(StoreError("second")), _Shard()]
    with (
        pytest.raises(StoreError, match="first") as refused,
        OpenShards(enumerate(shards)).publishing(LOG) as folder,
    ):
        _write(folder)
    assert _kept(str(refused.value)) == "an explanation"
    assert all(shard.closed for shard in shards)


def test_a_file_that_a_disk_refuses_at_the_end_is_named_beside_another_error(caplog):
    full = OSError(28, "No space left on device", "texts/cot/0.jsonl")
    shards = OpenShards({0: _Shard(full)})
    with pytest.raises(Interrupted, match="stopped"), shards.publishing(LOG):
        raise Interrupted("stopped")
    assert "texts/cot/0.jsonl" in caplog.text
