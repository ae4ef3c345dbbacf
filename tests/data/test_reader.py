"""The reader: the rows of a step depend only on seed and step, and damaged files are named."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm_jax.data import prepared
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

ROWS, LENGTH = 10, 8


def six_tokens(rows):
    """Return texts that fill one row each: text n is the token n + 3, six times."""
    return [Encoded([number + 3] * 6, [True] * 6) for number in range(rows)]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return train_sentencepiece(["a b c d"], tmp_path_factory.mktemp("vocabulary"), 400, seed=0)


@pytest.fixture
def folder(write_prepared, vocabulary, tmp_path):
    return write_prepared(tmp_path, six_tokens(ROWS), vocabulary, LENGTH, rows_per_shard=4)


@pytest.fixture(scope="module")
def shared_folder(write_prepared, vocabulary, tmp_path_factory):
    """A prepared folder that no test changes."""
    folder = tmp_path_factory.mktemp("rows")
    return write_prepared(folder, six_tokens(ROWS), vocabulary, LENGTH, rows_per_shard=4)


def row_numbers(batch):
    return (batch["tokens"][:, 0] - 3).tolist()


def order(folder, steps, **settings):
    reader = prepared.open(folder).reader(**{"batch_size": 2, "seed": 0} | settings)
    return [row_numbers(reader.batch(step)) for step in range(steps)]


def test_the_manifest_lists_the_shards_with_their_records(folder):
    shards = files.read_json(folder / "manifest.json")["shards"]
    assert [(shard["name"], shard["records"]) for shard in shards] == [
        ("rows-00000-of-00003.array_record", 4),
        ("rows-00001-of-00003.array_record", 4),
        ("rows-00002-of-00003.array_record", 2),
    ]
    for shard in shards:
        assert shard["digest"] == files.file_digest(folder / shard["name"])


def test_a_batch_has_the_arrays_of_whole_rows(folder):
    batch = prepared.open(folder).reader(batch_size=4, seed=0).batch(0)
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        "tokens": ((4, LENGTH), np.int32),
        "segment_ids": ((4, LENGTH), np.int32),
        "positions": ((4, LENGTH), np.int32),
        "loss_mask": ((4, LENGTH), np.bool_),
    }
    np.testing.assert_array_equal(batch["segment_ids"], [[1] * 6 + [0] * 2] * 4)


def test_every_epoch_contains_every_row_once_in_a_different_order(folder):
    rows = list(itertools.chain.from_iterable(order(folder, 15)))
    epochs = [rows[start : start + ROWS] for start in range(0, 30, ROWS)]
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@settings(max_examples=20)
@given(
    batch_size=st.integers(1, 2 * ROWS + 3), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 9)
)
def test_a_batch_may_span_the_boundary_of_two_epochs(shared_folder, batch_size, seed, epoch):
    reader = prepared.open(shared_folder).reader(batch_size=batch_size, seed=seed)
    start, end = epoch * ROWS, (epoch + 1) * ROWS
    steps = range(start // batch_size, -(-end // batch_size))
    rows = list(itertools.chain.from_iterable(row_numbers(reader.batch(step)) for step in steps))
    before = start - steps.start * batch_size
    assert sorted(rows[before : before + ROWS]) == list(range(ROWS))
    single_rows = prepared.open(shared_folder).reader(batch_size=1, seed=seed)
    assert rows[:before] == [
        number
        for step in range(start - before, start)
        for number in row_numbers(single_rows.batch(step))
    ]


def test_the_order_depends_on_the_seed(folder):
    assert order(folder, 5, seed=1) == order(folder, 5, seed=1)
    assert order(folder, 5, seed=1) != order(folder, 5, seed=2)


@pytest.fixture(scope="module")
def hosts(write_prepared, vocabulary, tmp_path_factory):
    """Readers for several numbers of hosts; the batch size 24 does not divide the 100 rows."""
    folder = tmp_path_factory.mktemp("hundred")
    write_prepared(folder, six_tokens(100), vocabulary, LENGTH, rows_per_shard=30)
    return {
        count: [
            prepared.open(folder).reader(
                batch_size=24, seed=3, process_index=index, process_count=count
            )
            for index in range(count)
        ]
        for count in (1, 2, 3, 4, 8)
    }


@settings(max_examples=30)
@given(
    start=st.integers(0, 10**9),
    counts=st.lists(st.sampled_from([1, 2, 3, 4, 8]), min_size=2, max_size=6),
)
def test_the_batches_do_not_depend_on_the_number_of_hosts(hosts, start, counts):
    for step, count in enumerate(counts, start=start):
        parts = [reader.batch(step) for reader in hosts[count]]
        for name, value in hosts[1][0].batch(step).items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), value)


def test_the_order_of_a_seed_does_not_change_between_versions(folder):
    """A run that was started with an older version, or another version of Grain, can resume."""
    assert order(folder, 3, batch_size=5, seed=7) == [
        [7, 9, 0, 8, 4],
        [2, 5, 6, 3, 1],
        [6, 0, 4, 2, 7],
    ]


@pytest.mark.parametrize("start", [0, 7, 1_000_000])
def test_iteration_can_start_at_any_step(folder, start):
    host = {"batch_size": 4, "seed": 3, "process_index": 1, "process_count": 2}
    reader = prepared.open(folder).reader(**host)
    batches = list(itertools.islice(reader.iterate(start), 4))
    for step, batch in enumerate(batches, start=start):
        for name, value in reader.batch(step).items():
            np.testing.assert_array_equal(batch[name], value)


def test_a_batch_size_of_one_works(folder):
    rows = order(folder, ROWS, batch_size=1)
    assert sorted(rows) == [[number] for number in range(ROWS)]


def test_a_very_late_step_is_read_without_the_steps_before_it(folder):
    reader = prepared.open(folder).reader(batch_size=2, seed=0)
    first = 10**15
    rows = [number for step in range(5) for number in row_numbers(reader.batch(first + step))]
    assert sorted(rows) == list(range(ROWS))


def shard_path(folder):
    return folder / "rows-00001-of-00003.array_record"


def refusal(folder, **settings):
    with pytest.raises(UserError) as error:
        prepared.open(folder).reader(**{"batch_size": 2, "seed": 0} | settings)
    return str(error.value)


def test_a_missing_shard_is_named(folder):
    shard_path(folder).unlink()
    assert refusal(folder).startswith(f"{shard_path(folder)}: no such file")


def test_a_truncated_shard_is_named_with_both_sizes(folder):
    path = shard_path(folder)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    assert f"{path}: has {size // 2} bytes, expected {size} as in" in refusal(folder)


def test_verify_detects_an_altered_shard(folder):
    path = shard_path(folder)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert f"{path}: digest is sha256:" in refusal(folder, verify=True)


def test_verify_detects_a_shard_that_was_replaced_by_another(folder):
    first = folder / "rows-00000-of-00003.array_record"
    assert first.stat().st_size == shard_path(folder).stat().st_size
    shard_path(folder).write_bytes(first.read_bytes())
    assert f"{shard_path(folder)}: digest is sha256:" in refusal(folder, verify=True)


def test_a_shard_of_zeros_is_refused(folder):
    path = shard_path(folder)
    path.write_bytes(bytes(path.stat().st_size))
    assert "run `teacherlm prepare` again" in refusal(folder)


def test_a_damaged_row_is_named_when_it_is_read(folder):
    manifest = files.read_json(folder / "manifest.json") | {"length": 5}
    files.write_json(folder / "manifest.json", manifest)
    with pytest.raises(UserError, match=r"row \d is damaged: .* 6 tokens, rows have 5"):
        prepared.open(folder).reader(batch_size=2, seed=0).batch(0)


def test_a_manifest_with_another_number_of_rows_is_refused(folder):
    manifest = files.read_json(folder / "manifest.json") | {"rows": 11}
    files.write_json(folder / "manifest.json", manifest)
    assert "the shards contain 10 rows, expected 11 as in the manifest" in refusal(folder)


@pytest.mark.parametrize(("batch_size", "process_count"), [(3, 2), (0, 1)])
def test_a_batch_size_that_the_processes_do_not_divide_is_refused(
    folder, batch_size, process_count
):
    message = refusal(folder, batch_size=batch_size, process_count=process_count)
    assert message.startswith(f"batch_size={batch_size}: expected a positive multiple of the num")


def test_reading_data_does_not_import_tensorflow_or_torch():
    program = (
        "import sys; import teacherlm_jax.data.reader, teacherlm_jax.sources.reading; "
        "print(sorted({'tensorflow', 'seqio', 'tensorflow_datasets', 'torch', 'transformers'}"
        " & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
