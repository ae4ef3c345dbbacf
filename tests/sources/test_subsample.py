"""Which samples of a source are kept: the first, those that the seed draws, the short ones."""

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


def test_a_limit_by_seed_does_not_depend_on_the_order_of_rows(tmp_path):
    made = [formats.to_sample("cot", row, source="", line=n) for n, row in enumerate(numbered(30))]
    rows = [to_row(sample) for sample in made]
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


def test_the_first_reading_decides_and_later_ones_give_the_same(tmp_path):
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
        refused = RefusedRows(None)
        first = list(reading.first(refused, vocabulary=Words()))
        # Q: and A: are words, and so is what ends a text
        assert all(2 + len(sample.question.split()) + 1 + 1 <= 6 for _, sample in first)
        assert len(first) == wanted
        assert refused.counts["longer than 6 tokens"] > 0
        assert list(reading.again()) == first
    with pytest.raises(UserError, match=r"source 'set': max_tokens=6, but there is no vocabulary"):
        list(formats.read_samples(config, str(tmp_path), RefusedRows(None)))


def test_a_limit_by_seed_measures_only_what_it_might_keep(tmp_path):
    measured = []
    write_rows(tmp_path / "a.jsonl", *numbered(1000))
    config = SourceConfig("set", "a.jsonl", "cot", limit=10, limit_by="seed")
    refused = RefusedRows(None)
    list(formats.read_samples(config, str(tmp_path), refused, usable=measured.append))
    assert 10 <= len(measured) < 200  # about 10 (1 + ln 100) of a thousand


class Held(list):
    """Candidates in memory."""

    def add(self, place, sample):
        self.append((place, sample))

    def read(self):
        return iter(self)


def test_a_limit_by_seed_takes_one_pass_where_candidates_can_be_held(tmp_path, monkeypatch):
    write_rows(tmp_path / "a.jsonl", *numbered(1000))
    config = SourceConfig("set", "a.jsonl", "cot", limit=10, limit_by="seed")
    twice = list(formats.SourceReading(config, str(tmp_path)).first(RefusedRows(None)))
    opened, open_file = [], files.opened
    monkeypatch.setattr(files, "opened", lambda path: opened.append(path) or open_file(path))
    reading, held = formats.SourceReading(config, str(tmp_path)), Held()
    found = list(reading.first(RefusedRows(None), candidates=held))
    assert found == twice and len(opened) == 1
    assert 10 < len(held) < 200  # about 10 (1 + ln 100) of a thousand


def test_the_digest_of_a_file_of_lines_is_known_after_one_pass(tmp_path):
    for name, pack in (("a.jsonl", bytes), ("b.jsonl.gz", gzip.compress)):
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in numbered(50))
        (tmp_path / name).write_bytes(pack(lines))
        path = str(tmp_path / name)
        for limit in (0, 3):
            config = SourceConfig("set", name, "cot", limit=limit)
            reading = formats.SourceReading(config, str(tmp_path))
            list(reading.first(RefusedRows(None)))
            assert reading.rows.digests == ({} if limit else {path: files.file_digest(path)})
