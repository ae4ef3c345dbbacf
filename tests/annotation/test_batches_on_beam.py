"""Batches of shards on Beam: their default size, as documented, and the same bytes with others."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import teacherlm_jax
from teacherlm_jax.annotation import job_on_beam
from teacherlm_jax.config import AnnotateConfig, EndpointConfig

from .beam_jobs import annotate, contents

pytest.importorskip("apache_beam", reason="Beam is an extra: pip install -r requirements-beam.txt")

PAGE = Path(teacherlm_jax.__file__).parents[1] / "docs/how-to/annotate.md"


def documented():
    """Return the explanations per slot, and those of a batch with the default of `slots`."""
    sentence = re.search(
        r"each with at least (\d+) explanations per slot \((\d+) with the default `slots=(\d+)`",
        PAGE.read_text(encoding="utf-8"),
    )
    assert sentence, f"{PAGE} does not state the default size of a batch"
    return tuple(map(int, sentence.groups()))


def batches(config, rows, kinds, path="model"):
    """Return the batches of a job: the numbers of explanations of their shards."""
    record = SimpleNamespace(shards=rows)
    teacher = SimpleNamespace(kinds=kinds, path=path)
    job = SimpleNamespace(record=record)
    made = list(job_on_beam._batches(config, job, teacher, 0, range(len(rows))))
    assert [index for batch in made for index in batch.shards] == list(range(len(rows)))
    return [[rows[index] * len(kinds) for index in batch.shards] for batch in made]


@pytest.fixture
def config(make_config, teachers):
    """Settings of a job with six shards of two rows, by default two batches for each teacher."""
    made = make_config(cot=teachers[0], mistake=teachers[1])
    return dataclasses.replace(made, rows_per_shard=2, slots=1)


def test_the_default_size_of_a_batch_is_that_of_the_documentation():
    per_slot, most, slots = documented()
    settings = AnnotateConfig(output="unused")
    assert (per_slot, slots) == (job_on_beam._TEXTS_PER_SLOT, settings.slots)
    assert most == per_slot * slots
    (whole,) = set(map(len, batches(settings, [most] * 5, ["cot"])))
    assert whole == 1
    assert batches(settings, [most - 1] * 5, ["cot"]) == [[most - 1] * 2] * 2 + [[most - 1]]


@pytest.mark.parametrize("kinds", [["cot"], ["cot", "fundamental"], ["cot", "fundamental", "m"]])
@pytest.mark.parametrize("path", ["model", None])
def test_a_batch_has_as_few_shards_as_keep_its_slots_busy(kinds, path):
    settings = AnnotateConfig(output="unused", slots=4, endpoint=EndpointConfig(concurrency=3))
    least = documented()[0] * (4 if path else 3)  # a teacher on a server has no slots
    rows = [5, 1, 9, 40, 2, 7, 7, 7, 7, 3, 1]
    *full, last = batches(settings, rows, kinds, path)
    assert full and all(sum(batch) >= least > sum(batch[:-1]) for batch in full)
    assert sum(last[:-1]) < least


def test_a_job_without_rows_has_no_batch():
    assert batches(AnnotateConfig(output="unused"), [], ["cot"]) == []


@pytest.mark.usefixtures("stubbed", "no_kept_teacher")
def test_the_size_of_a_batch_does_not_change_the_bytes(config, tmp_path, monkeypatch):
    annotate(config, tmp_path / "alone")
    expected, numbers = contents(tmp_path / "alone"), []
    for per_slot in (job_on_beam._TEXTS_PER_SLOT, 0, 3, 1000):
        output = tmp_path / f"{per_slot}"
        monkeypatch.setattr(job_on_beam, "_TEXTS_PER_SLOT", per_slot)
        annotate(config, output, ("--direct_running_mode=in_memory",))
        assert contents(output) == expected
        log = (output / "log.txt").read_text()
        numbers.append(int(re.search(r"DirectRunner writes (\d+) batch(?:es)? of shards", log)[1]))
    assert numbers == [4, 12, 6, 2]
