"""The reader: rows of a step depend on the seed and the step alone, and damage is named."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from teacherlm_jax import files
from teacherlm_jax.data import packing
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.data.reader import RowReader
from teacherlm_jax.data.writer import write_shards
from teacherlm_jax.errors import UserError

ROWS, LENGTH = 10, 8


@pytest.fixture
def folder(tmp_path):
    """Ten rows in shards of four; row n holds one text of six tokens n + 3."""
    texts = [Encoded([number + 3] * 6, [True] * 6) for number in range(ROWS)]
    shards = write_shards(tmp_path, packing.pack(texts, LENGTH), rows_per_shard=4)
    manifest = {"length": LENGTH, "rows": ROWS, "shards": shards}
    files.write_json(tmp_path / "manifest.json", manifest)
    return tmp_path


def row_numbers(batch):
    return (batch["tokens"][:, 0] - 3).tolist()


def order(folder, steps, **settings):
    reader = RowReader(folder, **{"batch_size": 2, "seed": 0} | settings)
    return [row_numbers(reader.batch(step)) for step in range(steps)]


def test_shards_are_named_and_described_with_their_number(folder):
    shards = files.read_json(folder / "manifest.json")["shards"]
    assert [(shard["name"], shard["records"]) for shard in shards] == [
        ("rows-00000-of-00003.array_record", 4),
        ("rows-00001-of-00003.array_record", 4),
        ("rows-00002-of-00003.array_record", 2),
    ]
    for shard in shards:
        assert shard["digest"] == files.file_digest(folder / shard["name"])


def test_a_batch_holds_whole_rows(folder):
    batch = RowReader(folder, batch_size=4, seed=0).batch(0)
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        "tokens": ((4, LENGTH), np.int32),
        "segment_ids": ((4, LENGTH), np.int32),
        "positions": ((4, LENGTH), np.int32),
        "loss_mask": ((4, LENGTH), np.bool_),
    }
    np.testing.assert_array_equal(batch["segment_ids"], [[1] * 6 + [0] * 2] * 4)


def test_every_epoch_holds_every_row_once_in_an_order_of_its_own(folder):
    rows = list(itertools.chain.from_iterable(order(folder, 15)))
    epochs = [rows[start : start + ROWS] for start in range(0, 30, ROWS)]
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_batches_run_on_over_the_end_of_an_epoch(folder):
    by_twos = itertools.chain.from_iterable(order(folder, 12))
    by_threes = itertools.chain.from_iterable(order(folder, 8, batch_size=3))
    assert list(by_twos) == list(by_threes)


def test_the_seed_decides_the_order(folder):
    assert order(folder, 5, seed=1) == order(folder, 5, seed=1)
    assert order(folder, 5, seed=1) != order(folder, 5, seed=2)


def test_processes_read_slices_that_together_are_the_global_batch(folder):
    whole = order(folder, 7, batch_size=4)
    slices = [
        order(folder, 7, batch_size=4, process_index=index, process_count=2) for index in range(2)
    ]
    assert [first + second for first, second in zip(*slices, strict=True)] == whole


@pytest.mark.parametrize("start", [0, 7])
def test_iterating_from_any_step_gives_that_steps_batches(folder, start):
    settings = {"batch_size": 4, "seed": 3, "process_index": 1, "process_count": 2}
    reader = RowReader(folder, **settings)
    read = list(itertools.islice(reader.iterate(start), 4))
    for step, batch in enumerate(read, start=start):
        for name, value in reader.batch(step).items():
            np.testing.assert_array_equal(batch[name], value)


def test_batches_of_one_row_are_read_too(folder):
    rows = order(folder, ROWS, batch_size=1)
    assert sorted(rows) == [[number] for number in range(ROWS)]


def test_a_step_far_away_is_read_as_quickly_as_the_first(folder):
    far = RowReader(folder, batch_size=2, seed=0).batch(10**15)
    assert far["tokens"].shape == (2, LENGTH)


def shard_path(folder):
    return folder / "rows-00001-of-00003.array_record"


def refusal(folder, **settings):
    with pytest.raises(UserError) as error:
        RowReader(folder, **{"batch_size": 2, "seed": 0} | settings)
    return str(error.value)


def test_a_missing_shard_is_named(folder):
    shard_path(folder).unlink()
    assert refusal(folder).startswith(f"{shard_path(folder)}: no such file")


def test_a_cut_shard_is_named_with_both_sizes(folder):
    path = shard_path(folder)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    assert f"{path}: has {size // 2} bytes, the manifest says {size}" in refusal(folder)


def test_an_altered_shard_is_found_by_its_digest_when_asked(folder):
    path = shard_path(folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert f"{path}: has the digest sha256:" in refusal(folder, verify=True)


def test_a_shard_of_zeros_is_refused(folder):
    path = shard_path(folder)
    path.write_bytes(bytes(path.stat().st_size))
    assert "prepare it again" in refusal(folder)


def test_a_damaged_row_is_named_when_it_is_read(folder):
    manifest = files.read_json(folder / "manifest.json") | {"length": 5}
    files.write_json(folder / "manifest.json", manifest)
    with pytest.raises(UserError, match=r"row \d is damaged: .* 6 tokens, rows have 5"):
        RowReader(folder, batch_size=2, seed=0).batch(0)


def test_a_manifest_that_counts_other_rows_is_refused(folder):
    manifest = files.read_json(folder / "manifest.json") | {"rows": 11}
    files.write_json(folder / "manifest.json", manifest)
    assert "the shards hold 10 rows, the manifest says 11" in refusal(folder)


def test_a_folder_without_a_manifest_is_not_finished(folder):
    (folder / "manifest.json").unlink()
    assert "has no manifest.json" in refusal(folder)
    assert "no such folder" in refusal(folder / "nowhere")


def test_a_manifest_that_lacks_something_is_refused(folder):
    files.write_json(folder / "manifest.json", {"rows": 3})
    assert "manifest.json: lacks length, shards" in refusal(folder)


@pytest.mark.parametrize(("batch_size", "process_count"), [(3, 2), (0, 1)])
def test_a_batch_that_cannot_be_cut_evenly_is_refused(folder, batch_size, process_count):
    message = refusal(folder, batch_size=batch_size, process_count=process_count)
    assert message.startswith(f"batch_size={batch_size}: cannot be cut evenly")


def test_reading_data_imports_no_tensorflow_and_no_torch():
    program = (
        "import sys; import teacherlm_jax.data.reader, teacherlm_jax.data.formats; "
        "print(sorted({'tensorflow', 'seqio', 'tensorflow_datasets', 'torch', 'transformers'}"
        " & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
