"""The safetensors format, compared with its official library, and damaged files."""

import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import lazy_tensor, torch_bin
from teacherlm_jax.hf.safetensors import SafetensorsWriter, read_header

RANDOM = np.random.default_rng(0)
TENSORS = {
    "a": RANDOM.normal(size=(5, 3)).astype(np.float32),
    "b": RANDOM.normal(size=7).astype(np.float16),
    "c": RANDOM.normal(size=(2, 3, 4)).astype(jnp.bfloat16),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    return path


def with_header(path, header, data=b""):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return path


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_are_read_as_the_library_wrote_them(path):
    header = read_header(path)
    assert header.keys() == TENSORS.keys()
    for name, expected in TENSORS.items():
        actual = header[name].read()
        assert (actual.dtype, header[name].nbytes) == (expected.dtype, expected.nbytes)
        np.testing.assert_array_equal(actual, expected)


@settings(max_examples=50)
@given(st.data())
def test_a_part_is_read_correctly_with_any_block_size(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "parts.safetensors"
    save_file(TENSORS, path)
    name = data.draw(st.sampled_from(sorted(TENSORS)))
    cuts = []
    for size in TENSORS[name].shape:
        start = data.draw(st.integers(0, size))
        cuts.append(slice(start, data.draw(st.integers(start, size))))
    block, lazy_tensor.BLOCK_BYTES = lazy_tensor.BLOCK_BYTES, data.draw(st.integers(1, 100))
    try:
        part = read_header(path)[name].read(tuple(cuts), np.dtype(np.float32))
    finally:
        lazy_tensor.BLOCK_BYTES = block
    np.testing.assert_array_equal(part, TENSORS[name][tuple(cuts)].astype(np.float32))


def test_the_library_reads_our_files(tmp_path):
    path = tmp_path / "model.safetensors"
    matrix = RANDOM.normal(size=(6, 4)).astype(np.float32)
    with SafetensorsWriter(path, {"m": (6, 4), "v": (5,)}, "float32") as writer:
        writer.write(matrix[:2])
        writer.write(matrix[2:])
        writer.write(np.ones(5, np.float32))
    actual = load_file(path)
    np.testing.assert_array_equal(actual["m"], matrix)
    np.testing.assert_array_equal(actual["v"], np.ones(5))
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pt"}
    assert next(iter(read_header(path).values())).offset % 8 == 0


def test_closing_a_file_before_all_tensors_are_written_raises(tmp_path):
    with (
        pytest.raises(ValueError, match="announced"),
        SafetensorsWriter(tmp_path / "m", {"m": (6, 4)}, "float32") as writer,
    ):
        writer.write(np.ones(3, np.float32))


@pytest.mark.parametrize("missing", [1, 14, 48, 49, 62, 63, 122])
def test_a_truncated_file_is_refused_with_its_first_incomplete_tensor(path, missing):
    by_place = sorted(read_header(path).values(), key=lambda tensor: tensor.offset)
    content = path.read_bytes()
    path.write_bytes(content[:-missing])
    cut = next(t for t in by_place if t.offset + t.nbytes > len(content) - missing)
    with pytest.raises(UserError, match=f"model.safetensors: is truncated: {cut.name} ends at"):
        read_header(path)


def test_a_file_truncated_after_its_header_was_read_is_refused_with_the_tensor(path):
    tensor = max(read_header(path).values(), key=lambda tensor: tensor.offset)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"model.safetensors: ends within {tensor.name}"):
        tensor.read()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{", "its header is not JSON"),
        (b"[]", "its header is not a JSON object"),
        (b"[" * 100_000, "its header is not JSON"),
        ({"a": entry(0, 8, [3])}, "a has 8 bytes, but its shape [3] in float32 needs 12"),
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, "a and b overlap"),
        ({"a": entry(8, 0, [2])}, "for a; copy it again"),
        ({"a": entry(0, 8, [-2])}, "for a; copy it again"),
        ({"a": entry(0, 8, "2")}, "for a; copy it again"),
        ({"a": entry(0, 8, [2], dtype=3)}, "for a; copy it again"),
        ({"a": {"dtype": "F32", "shape": [2]}}, "for a; copy it again"),
        ({"a": 3}, "its header has 3 for a"),
        ({"a": entry(False, True, [1], "U8")}, "for a; copy it again"),
        ({"a": entry(0, 4, [True])}, "for a; copy it again"),
        ({"a": entry(0, 4, [2**63])}, "for a; copy it again"),
        ({"a": entry(0, 4, [int("9" * 4000)] * 2)}, "for a; copy it again"),
        ({"a": entry(0, int("9" * 4000), [1], "I8")}, "for a; copy it again"),
        (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "for a; copy it again"),
        (b'{"a": ' + b"9" * 5000 + b"}", "its header is not JSON"),
        (b'{"a": {}, "b": 1, "a": 2}', "its header has 'a' twice"),
        (b'{"a": {"dtype": "F32", "dtype": "F16"}}', "its header has 'dtype' twice"),
        ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, "4 bytes before b belong to no tensor"),
        ({"a": entry(4, 12, [2])}, "4 bytes before a belong to no tensor"),
        ({"a": entry(0, 8, [2])}, "its last 4 bytes belong to no tensor"),
    ],
)
def test_a_corrupt_header_is_refused_with_the_reason(tmp_path, header, message):
    path = with_header(tmp_path / "model.safetensors", header, bytes(12))
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        read_header(path)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 400 + len(str(path))


def test_a_git_lfs_pointer_is_not_reported_as_a_damaged_file(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n")
    for read in (read_header, torch_bin.read_header):
        with pytest.raises(UserError, match=r"model.safetensors: .*`git lfs pull`"):
            read(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_reported_with_the_file():
    with (
        pytest.raises(OSError, match="No space left on device: '/dev/full'"),
        SafetensorsWriter(Path("/dev/full"), {"m": (6, 4)}, "float32") as writer,
    ):
        writer.write(np.ones((6, 4), np.float32))


@pytest.mark.parametrize("content", [b"", b"1234", (2**40).to_bytes(8, "little") + b"{}"])
def test_a_length_beyond_the_file_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="its header has .* bytes, but the file has only"):
        read_header(path)


def test_unsupported_dtypes_keep_their_name(tmp_path):
    path = with_header(tmp_path / "m", {"a": entry(0, 8, [1], "I64")}, bytes(8))
    assert read_header(path)["a"].dtype == "I64"
