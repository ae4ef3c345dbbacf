"""Objects of a bucket, in a store on this machine."""

import os
import threading

import gcsfs
import pytest
from google.auth.exceptions import DefaultCredentialsError

from teacherlm_jax.errors import StoreError, UserError
from teacherlm_jax.storage import objects, store_errors
from teacherlm_jax.storage.paths import client


def test_an_object_is_replaced_whole(bucket):
    objects.put(f"{bucket}/a", b"first and long")
    objects.put(f"{bucket}/a", b"second")
    assert objects.read(f"{bucket}/a") == b"second"


def test_an_object_that_is_missing_reads_as_none(bucket):
    assert objects.read(f"{bucket}/a") is None
    assert objects.listing(bucket) == {}
    objects.remove(f"{bucket}/a")


def test_files_are_copied_to_and_from_a_bucket(bucket, tmp_path):
    for size in (5000, 20_000_000):  # in one request, and in parts
        (tmp_path / "here.html").write_bytes(content := os.urandom(size))
        objects.upload(tmp_path / "here.html", f"{bucket}/deep/below")
        objects.download(f"{bucket}/deep/below", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == content
        assert objects.info(f"{bucket}/deep/below")["contentType"] == "text/html"


@pytest.mark.parametrize("block", [1 << 20, 16 << 20])
def test_of_a_file_that_grows_the_part_is_uploaded_that_was_there(
    bucket, tmp_path, monkeypatch, block
):
    monkeypatch.setattr(objects, "_UPLOAD_BLOCK", block)
    content, here = os.urandom(3_000_000), tmp_path / "here.jsonl"
    here.write_bytes(content)

    def growing(path):
        with here.open("ab") as file:
            file.write(b"a later row\n")
        return client(path)

    monkeypatch.setattr(objects, "client", growing)
    objects.upload(here, f"{bucket}/there")
    assert here.stat().st_size > len(content)
    assert objects.read(f"{bucket}/there") == content


def test_a_listing_has_the_objects_of_all_levels_as_they_are_now(bucket):
    objects.put(f"{bucket}/a", b"1")
    assert list(objects.listing(bucket)) == ["a"]
    objects.put(f"{bucket}/b/c", b"12")
    assert objects.listing(bucket) == {"a": 1, "b/c": 2}
    assert objects.is_folder(f"{bucket}/b") and not objects.is_folder(f"{bucket}/c")
    objects.remove(f"{bucket}/a")
    assert list(objects.listing(bucket)) == ["b/c"]


def test_one_of_many_creates_an_object(bucket):
    results = []

    def create(number):
        results.append((objects.create(f"{bucket}/one", str(number).encode()), number))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for created, number in results if created]
    assert len(winners) == 1
    assert objects.read(f"{bucket}/one") == str(winners[0]).encode()


def test_a_creation_that_is_repeated_with_its_own_content_succeeded(bucket):
    """The answer to a request may be lost after the object was created."""
    assert objects.create(f"{bucket}/one", b"mine")
    assert objects.create(f"{bucket}/one", b"mine")
    assert not objects.create(f"{bucket}/one", b"other")


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_named():
    address = "gs://no-such-bucket/runs/a"
    with pytest.raises(UserError, match="there is no bucket gs://no-such-bucket; create it, or"):
        objects.refuse_missing_bucket(address)
    with pytest.raises(StoreError, match=f"{address}: cannot be written: no such bucket"):
        objects.put(address, b"")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            OSError("Forbidden: https://storage/secret\n no access"),
            "permission denied; the account",
        ),
        (
            gcsfs.retry.HttpError({"code": 401, "message": "Invalid Credentials"}),
            "no valid credentials; run gcloud auth",
        ),
        (gcsfs.retry.HttpError({"code": 403, "message": "no"}), "permission denied; the account"),
        (gcsfs.retry.HttpError({"code": 503, "message": "try later"}), "HTTP status 503"),
        (DefaultCredentialsError("none"), "no valid credentials; run gcloud auth"),
    ],
)
def test_an_error_of_a_store_becomes_one_line_that_names_the_object(error, reason):
    with pytest.raises(StoreError) as raised, objects.reading("gs://b/a"):
        raise error
    assert str(raised.value).startswith("gs://b/a: cannot be read: ")
    assert reason in str(raised.value) and "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
    assert reason in store_errors.explain(error)


TENSORSTORE = "PERMISSION_DENIED: no [http_response_code='403'] [http_response_body='secret']"


@pytest.mark.parametrize(
    ("error", "unnamed", "begins"),
    [
        (
            ValueError(TENSORSTORE),
            "gs://b/run: cannot be written",
            "gs://b/run: cannot be written",
        ),
        (
            ValueError(f"Error writing gs://b/x/d: {TENSORSTORE}"),
            "",
            "gs://b/x/d: cannot be written",
        ),
        (ValueError(f"{TENSORSTORE} in gs://b/x/: gs://b/x/y"), "", "gs://b/x/y: cannot be read"),
        (
            ValueError("DATA_LOSS: Error decoding gs://b/x: short"),
            "",
            "gs://b/x: cannot be read",
        ),
        (
            RuntimeError('{"code": 404}; reading gs://b/x; at byte 0'),
            "",
            "gs://b/x: cannot be read: no",
        ),
    ],
)
def test_an_error_of_another_client_becomes_one_line_that_names_the_object(error, unnamed, begins):
    message = store_errors.explain(error, unnamed)
    assert message.startswith(begins) and "secret" not in message


def test_an_error_without_an_object_is_not_explained_as_one_of_a_store():
    assert store_errors.explain(ValueError(TENSORSTORE)) is None
    assert store_errors.explain(ValueError("RESOURCE_EXHAUSTED: no memory"), "gs://b: x") is None


def test_the_store_error_that_caused_an_error_is_found():
    error = RuntimeError("a thread failed")
    error.__cause__ = StoreError("gs://b/x: cannot be read: no")
    assert store_errors.explain(error) == "gs://b/x: cannot be read: no"
