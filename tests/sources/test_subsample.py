"""Limits of a source: the first samples, samples drawn by a seed, and samples that are short."""

import gzip
import hashlib
import json

import pytest

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import reading as formats
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows

from .test_file_formats import QUESTION, adapt, read, write_rows


def test_the_limit_counts_usable_rows(tmp_path):
    bad = QUESTION | {"answer": "green"}
    write_rows(tmp_path / "a.jsonl", bad, QUESTION, QUESTION, QUESTION, bad)
    samples, counts = read(tmp_path, limit=2)
    assert [sample.id for sample in samples] == ["set-2", "set-3"]
    assert sum(counts.values()) == 1


def seeded(folder, seed, limit, **settings):
    config = SourceConfig("set", "*.jsonl*", "cot", limit=limit, limit_by="seed", **settings)
    refused = RefusedRows(None)
    samples = formats.read_samples(config, str(folder), refused, seed=seed)
    return [sample.id for sample in samples]


def numbered(count):
    return [QUESTION | {"question": f"{n}?\nOptions:\n- red\n- blue"} for n in range(count)]


def test_a_limit_by_seed_keeps_usable_rows_by_a_hash_of_seed_and_id(tmp_path):
    bad = QUESTION | {"answer": "green"}
    write_rows(tmp_path / "a.jsonl", bad, *numbered(30))
    ids = [f"set-{line}" for line in range(2, 32)]
    ranks = {id: hashlib.sha256(f"7:{id}".encode()).hexdigest() for id in ids}
    kept = sorted(ids, key=ranks.get)[:5]
    assert seeded(tmp_path, 7, 5) == [id for id in ids if id in kept]
    assert seeded(tmp_path, 8, 5) != seeded(tmp_path, 7, 5)
    assert set(seeded(tmp_path, 7, 5)) < set(seeded(tmp_path, 7, 6))
    assert seeded(tmp_path, 7, 40) == ids


def test_a_limit_by_seed_does_not_depend_on_the_order_of_rows(tmp_path):
    samples = (
        formats.to_sample("cot", row, source="", line=n) for n, row in enumerate(numbered(30))
    )
    rows = [to_row(sample) for sample in samples]
    for folder, order in (("one", rows), ("other", rows[::-1])):
        (tmp_path / folder).mkdir()
        write_rows(tmp_path / folder / "a.jsonl", *order[:11])
        write_rows(tmp_path / folder / "b.jsonl", *order[11:])
    drawn = {}
    for folder in ("one", "other"):
        config = SourceConfig("set", "*.jsonl", limit=9, limit_by="seed")
        read = formats.read_samples(config, str(tmp_path / folder), RefusedRows(None), seed=3)
        drawn[folder] = [sample.id for sample in read]
    assert sorted(drawn["one"]) == sorted(drawn["other"])
    assert drawn["one"] != drawn["other"]


def test_later_readings_yield_the_samples_of_the_first(tmp_path):
    rows = [to_row(adapt("cot", **row)) | {"id": str(n)} for n, row in enumerate(numbered(20))]
    write_rows(tmp_path / "a.jsonl", *rows[:9], {"broken": 1}, rows[3], *rows[9:])
    for settings in ({}, {"limit": 7}, {"limit": 7, "limit_by": "seed"}):
        reading = formats.SourceReading(SourceConfig("set", "a.jsonl", **settings), str(tmp_path))
        refused = RefusedRows(None)
        first = list(reading.first(refused))
        assert list(reading.again()) == list(reading.again()) == first
        assert reading.samples == len(first) == settings.get("limit", 20)
        assert refused.total == (0 if reading.config.limit_by == "first" and settings else 2)


class Words:
    """A vocabulary with one token per word."""

    begin = ()
    eos_id = 1

    def encode_batch(self, texts):
        return [[2] * len(text.split()) for text in texts]


def test_samples_longer_than_max_tokens_are_refused(tmp_path):
    rows = [{"question": "word " * (n % 5), "answer": "x", "cot": "long " * 9} for n in range(20)]
    rows[0], rows[1] = {"id": "twin"} | rows[3], {"id": "twin"} | rows[1]  # 7 tokens, 5 tokens
    write_rows(tmp_path / "a.jsonl", *[row | {"explanations": {}} for row in rows])
    for by, limit, expected in (("first", 0, 8), ("first", 5, 5), ("seed", 5, 5)):
        config = SourceConfig("set", "a.jsonl", limit=limit, limit_by=by, max_tokens=6)
        reading = formats.SourceReading(config, str(tmp_path))
        refused = RefusedRows(None)
        first = list(reading.first(refused, vocabulary=Words()))
        # Q: and A: are words too, and `eos` is one more token
        assert all(2 + len(sample.question.split()) + 1 + 1 <= 6 for _, sample in first)
        assert len(first) == expected
        assert refused.counts["longer than 6 tokens"] > 0
        assert list(reading.again()) == first
    with pytest.raises(UserError, match=r"source 'set': max_tokens=6, but there is no vocabulary"):
        list(formats.read_samples(config, str(tmp_path), RefusedRows(None)))


def test_a_limit_by_seed_checks_only_samples_that_it_might_keep(tmp_path):
    checked = []
    write_rows(tmp_path / "a.jsonl", *numbered(1000))
    config = SourceConfig("set", "a.jsonl", "cot", limit=10, limit_by="seed")
    refused = RefusedRows(None)
    list(formats.read_samples(config, str(tmp_path), refused, usable=checked.append))
    assert 10 <= len(checked) < 200  # about 10 (1 + ln 100) of a thousand


class CandidateList(list):
    """Candidates in memory."""

    def add(self, location, sample):
        self.append((location, sample))

    def read(self):
        return iter(self)


def test_a_limit_by_seed_needs_one_pass_if_candidates_can_be_stored(tmp_path, monkeypatch):
    write_rows(tmp_path / "a.jsonl", *numbered(1000))
    config = SourceConfig("set", "a.jsonl", "cot", limit=10, limit_by="seed")
    two_passes = list(formats.SourceReading(config, str(tmp_path)).first(RefusedRows(None)))
    opened, open_file = [], files.opened
    monkeypatch.setattr(files, "opened", lambda path: opened.append(path) or open_file(path))
    reading, candidates = formats.SourceReading(config, str(tmp_path)), CandidateList()
    one_pass = list(reading.first(RefusedRows(None), candidates=candidates))
    assert one_pass == two_passes and len(opened) == 1
    assert 10 < len(candidates) < 200  # about 10 (1 + ln 100) of a thousand


def test_one_pass_over_a_jsonl_file_computes_its_digest(tmp_path):
    for name, pack in (("a.jsonl", bytes), ("b.jsonl.gz", gzip.compress)):
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in numbered(50))
        (tmp_path / name).write_bytes(pack(lines))
        path = str(tmp_path / name)
        for limit in (0, 3):
            config = SourceConfig("set", name, "cot", limit=limit)
            reading = formats.SourceReading(config, str(tmp_path))
            list(reading.first(RefusedRows(None)))
            assert reading.rows.digests == ({} if limit else {path: files.file_digest(path)})
