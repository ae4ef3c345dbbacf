import io

import pytest
from etils import epath

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"kept": True})
    with pytest.raises(TypeError):
        files.write_json(path, {"bad": object()})
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "\ud800")
    assert files.read_json(path) == {"kept": True}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_malformed_json_names_file_and_line(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{\n"a": 1,\n}')
    with pytest.raises(UserError, match=rf"{path}:3: not JSON"):
        files.read_json(path)
    with pytest.raises(UserError, match="no such file"):
        files.read_json(tmp_path / "none.json")


def test_jsonl_yields_good_rows_and_names_what_is_wrong_with_bad_ones(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": \n[1]\n\xff\xfe\n{"a": 2}')
    rows = list(files.read_jsonl(path))
    assert [line for line, _ in rows] == [1, 3, 4, 5, 6]
    assert (rows[0][1], rows[4][1]) == ({"a": 1}, {"a": 2})
    reasons = [row.reason for _, row in rows[1:4]]
    assert reasons[0].startswith("not JSON")
    assert reasons[1:] == ["not a JSON object", "not UTF-8"]


@pytest.mark.parametrize("line", ['{"a": ' + "9" * 5000 + "}", '{"a": ' * 100_000])
def test_json_that_python_will_not_read_is_a_malformed_row(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text(line)
    ((_, row),) = files.read_jsonl(tmp_path / "rows.jsonl")
    assert row.reason.startswith("not JSON")


def test_globs_expand_sorted_and_never_to_nothing(tmp_path):
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_text("")
    (tmp_path / "c.jsonl").mkdir()
    assert [path.name for path in files.expand(tmp_path, "*.jsonl")] == ["a.jsonl", "b.jsonl"]
    with pytest.raises(UserError, match="no file matches"):
        files.expand(tmp_path, "*.parquet")


def test_names_with_marks_of_patterns_are_taken_as_they_are(tmp_path):
    folder = tmp_path / "a[1]*"
    folder.mkdir()
    (folder / "b[2].jsonl").write_text("")
    for name in ("b[2].jsonl", "*.jsonl"):
        assert [path.name for path in files.expand(folder, name)] == ["b[2].jsonl"]
    with pytest.raises(UserError, match=r"\*\*/b.jsonl: \*\* is not understood"):
        files.expand(folder, "**/b.jsonl")


@pytest.mark.parametrize(
    ("root", "path", "whole"),
    [
        ("data", "a.jsonl", "data/a.jsonl"),
        ("data", "/b/a.jsonl", "/b/a.jsonl"),
        ("", "gs://bucket/a.jsonl", "gs://bucket/a.jsonl"),
        ("data", "gs://bucket/a.jsonl", "gs://bucket/a.jsonl"),
        ("gs://bucket/sets", "x/a.jsonl", "gs://bucket/sets/x/a.jsonl"),
    ],
)
def test_paths_are_taken_under_their_root_unless_they_are_whole(root, path, whole):
    assert str(files.under(root, path)) == whole


def test_refused_rows_are_counted_and_written_with_their_place(tmp_path):
    (tmp_path / "refused.jsonl").write_text("of an earlier reading")
    refused = files.RefusedRows(tmp_path / "refused.jsonl")
    assert not refused.path.exists()
    refused.add("in.jsonl", 1, "no text", "half a character: \ud83d")
    refused.add("in.jsonl", 4, "no question", {"q": ""})
    refused.add("in.jsonl", 9, "no question", {})
    refused.close()
    assert refused.total == 3
    assert refused.counts == {"no question": 2, "no text": 1}
    assert refused.by_file == {"in.jsonl": refused.counts}
    _, (_, first), _ = files.read_jsonl(refused.path)
    assert first == {"file": "in.jsonl", "line": 4, "reason": "no question", "row": {"q": ""}}


def test_the_digest_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.file_digest(path) == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_mark_of_byte_order_before_the_first_row_is_no_part_of_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n')
    assert list(files.read_jsonl(path)) == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize("address", ["https://example.org/x", "hdfs://name/x", "file:///x"])
def test_an_address_of_no_known_store_is_refused_with_those_that_are_known(address):
    for root, path in ((address, "a.jsonl"), ("data", f"{address}/a.jsonl")):
        with pytest.raises(UserError, match="/x/a.jsonl: an address of no store .* gs://, s3://"):
            files.expand(root, path)


class UnimplementedError(Exception):
    """What TensorFlow raises for stores that it was built without."""


@pytest.mark.parametrize("error", [ImportError("Install s3fs"), UnimplementedError("not there")])
def test_a_store_that_nothing_here_can_read_is_named(error):
    with pytest.raises(UserError) as raised, files.blamed_on(epath.Path("s3://bucket/a")):
        raise error
    assert str(raised.value) == (
        f"s3://bucket/a: nothing that is installed here reads s3:// ({error}); copy the files to "
        "this machine"
    )


def test_the_words_of_a_store_stand_on_one_line():
    with pytest.raises(UserError) as raised, files.blamed_on(epath.Path("gs://bucket/a")):
        raise RuntimeError("libcurl code 6\n\t when reading metadata\n")
    assert str(raised.value) == (
        "gs://bucket/a: cannot be read: RuntimeError: libcurl code 6 when reading metadata"
    )


def test_a_hashed_file_has_its_digest_after_one_pass_however_it_was_read(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 10_000)
    wanted = files.file_digest(path)
    for sizes in ([], [1], [5, 100_000], [-1]):
        with files.opened(path) as opened:
            hashed = files.HashedFile(opened)
            buffered = io.BufferedReader(hashed)
            content = b"".join(buffered.read(size) for size in sizes)
            assert path.read_bytes().startswith(content)
            assert hashed.digest() == wanted
    with files.opened(path) as opened:
        hashed = files.HashedFile(opened)
        hashed.read(7)
        hashed.seek(0)
        assert hashed.digest() == wanted
        with pytest.raises(io.UnsupportedOperation):
            hashed.seek(3)
