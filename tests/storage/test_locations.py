"""Paths and globs below a root, and the errors of stores."""

import subprocess
import sys

import pytest
import tensorflow as tf

from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import locations
from teacherlm_jax.storage.paths import StoragePath


def test_globs_expand_to_sorted_files_and_must_match_one(tmp_path):
    for name in ("b.jsonl", "a.jsonl"):
        (tmp_path / name).write_text("")
    (tmp_path / "c.jsonl").mkdir()
    assert [path.name for path in locations.expand(tmp_path, "*.jsonl")] == ["a.jsonl", "b.jsonl"]
    with pytest.raises(UserError, match="no file matches"):
        locations.expand(tmp_path, "*.parquet")


def test_existing_names_that_contain_brackets_or_stars_are_not_patterns(tmp_path):
    folder = tmp_path / "a[1]*"
    folder.mkdir()
    (folder / "b[2].jsonl").write_text("")
    for name in ("b[2].jsonl", "*.jsonl"):
        assert [path.name for path in locations.expand(folder, name)] == ["b[2].jsonl"]
    with pytest.raises(UserError, match=r"\*\*/b.jsonl: \*\* is not supported"):
        locations.expand(folder, "**/b.jsonl")


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
def test_paths_are_relative_to_the_root_unless_they_are_absolute(root, path, whole):
    assert str(locations.under(root, path)) == whole


@pytest.mark.parametrize("address", ["https://example.org/x", "hdfs://name/x", "file:///x"])
def test_an_address_in_an_unsupported_store_is_refused_with_the_supported_ones(address):
    for root, path in ((address, "a.jsonl"), ("data", f"{address}/a.jsonl")):
        with pytest.raises(
            UserError, match="/x/a.jsonl: not in a supported store; .* gs://, s3://"
        ):
            locations.expand(root, path)


@pytest.mark.parametrize(
    "error",
    [ImportError("Install s3fs"), tf.errors.UnimplementedError(None, None, "not there")],
)
def test_a_store_that_no_installed_package_can_read_is_named(error):
    with pytest.raises(UserError) as raised, locations.refusing(StoragePath("s3://bucket/a")):
        raise error
    assert str(raised.value) == (
        f"s3://bucket/a: no installed package can read s3:// ({error}); run pip install s3fs, or "
        "copy the files to this machine"
    )


def test_error_messages_of_a_store_are_put_on_one_line():
    with pytest.raises(StoreError) as raised, locations.refusing(StoragePath("gs://bucket/a")):
        raise tf.errors.InternalError(None, None, "libcurl code 6\n\t when reading metadata\n")
    assert str(raised.value) == (
        "gs://bucket/a: cannot be read: the store did not answer as expected (InternalError: "
        "libcurl code 6 when reading metadata); repeat the command"
    )


@pytest.mark.parametrize("package", ["gcsfs", "google_crc32c"])
def test_a_bucket_without_the_packages_for_it_names_the_file_to_install(package):
    """In a process of its own, which has imported none of them before."""
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from teacherlm_jax.storage.paths import StoragePath\n"
        "try:\n    StoragePath('gs://bucket/a').exists()\n"
        "except Exception as error:\n    print(type(error).__name__, error, sep=': ')"
    )
    words = [sys.executable, "-c", program]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("UserError: gs://bucket/a: paths in a bucket need packages"), shown
    assert package in shown and "run `pip install -r requirements-gcs.txt`" in shown
