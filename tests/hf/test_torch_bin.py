"""PyTorch's .bin files, compared with torch, and files with malicious or damaged pickles."""

import collections
import io
import os
import pickle
import pickletools
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import torch_bin
from teacherlm_jax.hf.torch_bin import read_header

torch = pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pytorch_model.bin"


def as_numpy(tensor):
    return tensor.detach().float().numpy()


def with_pickle(path, content):
    """Write a file like torch's, but with another pickle."""
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(name, content if name.endswith("data.pkl") else entry)
    return path


# A pickled float32 tensor with a shape and strides, and shapes too long for any error message.
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQK\x00%btR"
)
SHAPE = b"K\x02\x85K\x01\x85"
HUGE_SHAPE = b"\x8a\xff" + b"\x01" * 255 + b"\x85K\x01\x85"
LONG_SHAPE = b"(" + b"K\x02" * 65 + b"t(" + b"K\x02" * 65 + b"t"


class Call:
    """An object whose pickle calls a function that exists on every machine."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_tensors_are_read_as_torch_wrote_them(path):
    shared = torch.randn(6, 4)
    expected = collections.OrderedDict(
        single=torch.randn(5, 3),
        half=torch.randn(7).half(),
        brain=torch.randn(2, 3, 4).bfloat16(),
        parameter=torch.nn.Parameter(torch.randn(3, 2)),
        whole=shared,
        rows=shared[2:5],  # a view into the same storage
    )
    expected._metadata = {"": {"version": 1}}
    torch.save(expected, path)
    header = read_header(path)
    assert header.keys() == expected.keys()
    assert header["rows"].file == path
    assert header["rows"].offset - header["whole"].offset == 2 * 4 * 4
    for name, tensor in expected.items():
        np.testing.assert_array_equal(header[name].read().astype(np.float32), as_numpy(tensor))
    assert [header[name].dtype for name in ("single", "half", "brain")] == [
        "float32", "float16", "bfloat16",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "state",
    [b"}X\x05\x00\x00\x00itemsK\x01s", b"}X\x05\x00\x00\x00itemsccollections\nOrderedDict\ns"],
)
def test_attributes_of_a_dictionary_are_ignored(path, state):
    content = b"\x80\x02ccollections\nOrderedDict\n)RX\x01\x00\x00\x00a" + TENSOR % SHAPE + b"s"
    assert read_header(with_pickle(path, content + state + b"b."))["a"].shape == (2,)


@pytest.mark.parametrize("entry", ["data.pkl", "byteorder"])
def test_oversized_entries_are_refused_without_reading_them(path, entry, monkeypatch):
    torch.save({"a": torch.ones(2)}, path)
    for bound in ("_LONGEST_PICKLE", "_LONGEST_WORD"):
        monkeypatch.setattr(torch_bin, bound, {"data.pkl": 50, "byteorder": 3}[entry])
    with pytest.raises(UserError, match=rf"{entry} has \d+ bytes, expected at most"):
        read_header(path)


def test_a_tensor_that_is_not_row_major_is_refused_by_name(path):
    torch.save({"turned": torch.ones(2, 3).T}, path)
    with pytest.raises(UserError, match=r"turned of shape \[3, 2\] is stored with strides \[1, 3"):
        read_header(path)


def test_unsupported_dtypes_keep_their_name(path):
    torch.save({"a": torch.ones(2, dtype=torch.int64)}, path)
    assert read_header(path)["a"].dtype == "long"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call(os.system, "touch {}"), "posix.system"),
        (Call(exec, "open({!r}, 'w').close()"), "__builtin__.exec"),
        (Call(eval, "open({!r}, 'w').close()"), "__builtin__.eval"),
        (Call(getattr, os, "system"), "__builtin__.getattr"),
        (Call(torch.load, "{}"), "torch.serialization.load"),
        (Call(np.fromfile, "{}"), "numpy.fromfile"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pickle_that_calls_other_functions_is_refused_and_nothing_runs(
    path, tmp_path, call, name
):
    witness = tmp_path / "it_ran"
    function, arguments = call.call
    filled = tuple(a.format(str(witness)) if isinstance(a, str) else None for a in arguments)
    content = pickle.dumps({"a": Call(function, *filled)}, protocol=2)
    with pytest.raises(UserError, match=f"asks for {name}.*none of it was run"):
        read_header(with_pickle(path, content))
    assert not witness.exists()
    if function in (os.system, exec, eval):  # check that the pickle is harmful
        pickle.loads(content)
        assert witness.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02ccollections\nOrderedDict\n}(X\x04\x00\x00\x00makeK\x01ub.",  # sets attributes
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",  # creates an instance without a call
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02K\x03K\x04tR.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02X\x01\x00\x00\x00aQ.",  # an unknown persistent id
        b"\x80\x02(X\x07\x00\x00\x00storageK\x01X\x01\x00\x00\x000K\x01K\x01tQ.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"",
        b"no pickle",
        b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s.",  # a key with a million nested tuples
        b"\x80\x02}X\x01\x00\x00\x00a" + TENSOR % HUGE_SHAPE + b"s.",
        b"\x80\x02}X\x01\x00\x00\x00a" + TENSOR % LONG_SHAPE + b"s.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a string of 2^63 - 1 bytes
        b"\x80\x02h\x05.",  # a memo entry that was never stored
        b"\x80\x02}}s.",  # SETITEM with an empty stack
        b"\x80\x02(.",
        b"\x80\x02}}.",
        b"\x80\x02ccollections\nOrderedDict\n)RK\x01K\x02s.",  # a key that is not a string
        b"\x80\x02}(X\x01\x00\x00\x00au.",  # a key without a value
    ],
)
def test_an_invalid_pickle_is_refused(path, content):
    with pytest.raises(UserError, match="its pickle cannot be read"):
        read_header(with_pickle(path, content))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "EMPTY_LIST, which tensors do not need"),
        ({"a": {"b": 1}}, "'a' is a dict, expected a tensor"),
        (torch.ones(2), "it holds a Tensor, expected a dictionary of tensors"),
        ({3: 1}, "a key of a dictionary is not a name"),
    ],
)
def test_anything_but_a_dictionary_of_tensors_is_refused(path, value, message):
    torch.save(value, path)
    with pytest.raises(UserError, match=message):
        read_header(path)


@settings(max_examples=200)
@given(st.data())
def test_a_mutated_pickle_gives_a_result_or_a_user_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "changed.bin"
    buffer = io.BytesIO()
    torch.save(collections.OrderedDict(a=torch.ones(2, 3)), buffer)
    with zipfile.ZipFile(buffer) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        content = bytearray(archive.read(name))
    starts = [position for _, _, position in pickletools.genops(bytes(content))]
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.sampled_from(starts))] = data.draw(st.integers(0, 255))
    try:
        answer = str(read_header(with_pickle(path, bytes(content))))
    except UserError as error:
        answer = str(error)
    assert str(path) in answer or answer == "{}"


def test_a_file_in_the_format_before_zip_is_refused_with_a_remedy(path):
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(
        UserError, match="is older, where you trust the file, rewrite it in Python: import torch"
    ):
        read_header(path)


def test_a_truncated_file_is_refused_by_name(path):
    torch.save({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match="pytorch_model.bin: not a complete zip file.*truncated"):
        read_header(path)


def test_missing_or_overwritten_bytes_are_refused(path):
    torch.save({"a": torch.ones(1000)}, path)
    whole, start = path.read_bytes(), read_header(path)["a"].offset
    header = whole.rindex(b"PK\3\4", 0, start)
    for begin, end in ((header, start), (header + 26, header + 30), (header + 28, header + 30)):
        path.write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
        with pytest.raises(UserError, match="is damaged: pytorch_model/data/0 is not framed"):
            read_header(path)
    last = whole.rindex(b"PK\1\2")
    for at in range(last):  # make the tensor's zip entry larger than the file
        if whole[at : at + 4] == b"PK\1\2" and b"data/0" in whole[at + 46 : at + 80]:
            path.write_bytes(
                whole[: at + 20] + (10**9).to_bytes(4, "little") * 2 + whole[at + 28 :]
            )
    with pytest.raises(UserError, match="is truncated: pytorch_model/data/0 ends at byte"):
        read_header(path)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_refused_or_gives_the_original_offsets(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    torch.save({"a": torch.ones(2, 3), "b": torch.ones(5).half()}, path)
    whole, expected = path.read_bytes(), read_header(path)
    begin = data.draw(st.integers(0, len(whole)))
    size = data.draw(st.integers(0, 64))
    other = data.draw(st.sampled_from([b"", bytes(size)]) | st.binary(max_size=4))
    path.write_bytes(whole[:begin] + other + whole[begin + max(size, len(other)) :])
    try:
        actual = read_header(path)
    except UserError as error:
        answer = str(error)
    else:
        assert actual == expected
        answer = str(path)
    assert str(path) in answer


def test_other_zip_files_are_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello", "there")
    with pytest.raises(UserError, match="without data.pkl"):
        read_header(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, data: (None, data) if "/data/" in name else (name, data), "of a are missing"),
        (lambda name, data: (name, data[:4] if "/data/" in name else data), "needs 8 bytes from "),
        (lambda name, data: (name, b"big" if "byteorder" in name else data), "big-endian"),
    ],
)
def test_missing_short_or_big_endian_entries_are_refused(path, change, message):
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = [change(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            if name is not None:
                archive.writestr(name, data)
    with pytest.raises(UserError, match=message):
        read_header(path)


def test_a_compressed_entry_is_refused(path):
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    with pytest.raises(UserError, match="byteorder is compressed or encrypted"):
        read_header(path)
