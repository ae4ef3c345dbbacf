"""Whole files: atomic writes, JSON, jsonl and digests."""

import io
import os

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files
from tests.limited_rights import limited_rights


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
    path.write_text('{\n"a": 1\n]')
    with pytest.raises(UserError, match=rf"{path}:3: not JSON"):
        files.read_json(path)
    with pytest.raises(UserError, match="no such file"):
        files.read_json(tmp_path / "none.json")


def test_a_file_that_may_not_be_seen_is_an_error_and_not_missing(tmp_path):
    folder = tmp_path / "closed"
    (folder / "inside").mkdir(parents=True)
    for ask in (files.exists, files.is_folder, files.names):
        assert not ask(tmp_path / "nothing") and not ask(tmp_path / "nothing" / "inside")
    folder.chmod(0)
    try:
        with limited_rights():
            for ask in (files.exists, files.is_folder, files.names):
                with pytest.raises(UserError, match="inside: cannot be read: Permission denied"):
                    ask(folder / "inside")
            with pytest.raises(UserError, match="closed: cannot be read: Permission denied"):
                files.names(folder)
    finally:
        folder.chmod(0o755)


def test_jsonl_yields_valid_rows_and_the_reasons_for_malformed_ones(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": \n[1]\n\xff\xfe\n{"a": 2}')
    rows = list(files.read_jsonl(path))
    assert [line for line, _ in rows] == [1, 3, 4, 5, 6]
    assert (rows[0][1], rows[4][1]) == ({"a": 1}, {"a": 2})
    reasons = [row.reason for _, row in rows[1:4]]
    assert reasons[0].startswith("not JSON")
    assert reasons[1:] == ["not a JSON object", "not UTF-8"]


@pytest.mark.parametrize("line", ['{"a": ' + "9" * 5000 + "}", '{"a": ' * 100_000])
def test_json_that_python_refuses_to_parse_is_a_malformed_row(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text(line)
    ((_, row),) = files.read_jsonl(tmp_path / "rows.jsonl")
    assert row.reason.startswith("not JSON")


def test_a_file_digest_is_the_sha256_of_its_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.file_digest(path) == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_byte_order_mark_is_not_part_of_the_first_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n')
    assert list(files.read_jsonl(path)) == [(1, {"a": 1}), (2, {"a": 2})]


def test_a_hashed_file_has_its_digest_after_one_pass_of_any_reads(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 10_000)
    expected = files.file_digest(path)
    for sizes in ([], [1], [5, 100_000], [-1]):
        with files.opened(path) as opened:
            hashed = files.HashedFile(opened)
            buffered = io.BufferedReader(hashed)
            content = b"".join(buffered.read(size) for size in sizes)
            assert path.read_bytes().startswith(content)
            assert hashed.digest() == expected
    with files.opened(path) as opened:
        hashed = files.HashedFile(opened)
        hashed.read(7)
        hashed.seek(0)
        assert hashed.digest() == expected
        with pytest.raises(io.UnsupportedOperation):
            hashed.seek(3)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_gets_its_name_is_on_the_disk_before(tmp_path, monkeypatch, kind):
    unfinished, path, steps = tmp_path / "a", tmp_path / "b", []
    unfinished.mkdir() if kind == "folder" else unfinished.write_text("content")
    fsync, replace = os.fsync, os.replace
    inode = unfinished.stat().st_ino

    def synced(handle):
        steps.append("fsync" if os.fstat(handle).st_ino == inode else "fsync of another file")
        fsync(handle)

    def replaced(*paths):
        steps.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    files.publish(unfinished, path)
    assert steps == ["fsync", "replace"]
    assert path.stat().st_ino == inode and not unfinished.exists()


def test_a_disk_that_refuses_a_name_is_named_with_it(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "b/c").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=f": '{tmp_path / 'b'}'"):
        files.publish(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").exists()


def test_a_json_file_that_may_be_missing_is_none_then(tmp_path):
    assert files.read_json_if_any(tmp_path / "none.json") is None
    files.write_json(tmp_path / "one.json", {"a": 1})
    assert files.read_json_if_any(tmp_path / "one.json") == {"a": 1}
    files.write_bytes(tmp_path / "bad.json", b"{")
    with pytest.raises(UserError, match=r"bad\.json"):
        files.read_json_if_any(tmp_path / "bad.json")
