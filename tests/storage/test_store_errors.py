"""Errors of stores: of a client or of the program, with the cause, and without credentials."""

import importlib

import aiohttp
import gcsfs
import pytest
import requests
from gcsfs.credentials import GoogleCredentials
from google.auth.exceptions import RefreshError, TransportError
from google.protobuf.message import DecodeError

from teacherlm_jax.errors import StoreError
from teacherlm_jax.storage import gcs_client, locations, objects, store_errors
from teacherlm_jax.storage.paths import StoragePath

ADDRESS = StoragePath("gs://b/a")
BLOCKS = {
    "reading": lambda: objects.reading(ADDRESS),
    "writing": lambda: objects.writing(ADDRESS),
    "refusing": lambda: locations.refusing(ADDRESS),
    "request": lambda: gcs_client._naming("gs://b/a", "read"),
}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("error", [AttributeError("name"), TypeError("no"), KeyError("name")])
def test_an_error_of_the_program_stays_as_it_is(block, error):
    with pytest.raises(type(error)) as raised, BLOCKS[block]():
        raise error
    assert raised.value is error


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientOSError(104, "Connection reset by peer"),
        gcsfs.retry.ChecksumError("wrong"),
        requests.ConnectionError("no route"),
        TransportError("no route"),
        TimeoutError(),
        ValueError("Bad Request: https://storage/b\ninvalid name"),
    ],
)
def test_an_error_of_a_client_names_the_object(block, error):
    with pytest.raises(StoreError, match="^gs://b/a: cannot be .*: the store did"), BLOCKS[block]():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyError("name"),
        DecodeError("Error parsing message"),
        requests.ConnectionError("huggingface.co: no route"),
    ],
)
def test_errors_of_other_code_are_not_explained_as_those_of_a_store(error):
    assert store_errors.explain(error) is None


def test_the_classes_of_clients_have_these_names_in_the_installed_packages():
    installed = []
    for name in store_errors._CLIENTS:
        module, _, kind = name.rpartition(".")
        if module.partition(".")[0] in ("aiohttp", "gcsfs", "google", "tensorflow"):
            installed.append(getattr(importlib.import_module(module), kind))
    assert {f"{kind.__module__}.{kind.__qualname__}" for kind in installed} < store_errors._CLIENTS


@pytest.mark.parametrize("reason", ["Reauthentication is needed.", "('invalid_grant: expired',)"])
def test_an_account_that_has_to_sign_in_again_is_told_so_at_once(bucket, monkeypatch, reason):
    attempts = []

    def refuse(credentials):
        attempts.append(1)
        raise gcsfs.retry.HttpError({"code": 401, "message": "Invalid Credentials"}) from (
            RefreshError(reason)
        )

    assert objects.read(f"{bucket}/a") is None  # the first request also asks what the bucket is
    monkeypatch.setattr(GoogleCredentials, "maybe_refresh", refuse)
    with pytest.raises(StoreError, match=f"{bucket}/a: .*: no valid credentials; run gcloud auth"):
        objects.read(f"{bucket}/a")
    assert len(attempts) == 1


@pytest.mark.parametrize(
    "error",
    [
        gcsfs.retry.HttpError({"code": 401, "message": "Invalid Credentials"}),
        RefreshError("the metadata server does not answer"),
        TransportError("no route"),
    ],
)
def test_transient_errors_of_renewing_credentials_are_retried(error):
    assert gcs_client._is_transient(error)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a@b does not have storage.objects.create access", "permission denied; the account needs"),
        ("The billing account is disabled", "refused (The billing account is disabled); correct"),
        ("Quota exceeded for x", "refused (Quota exceeded for x); correct this, then repeat the"),
        ("Object 'b/a' is subject to a retention policy", "refused (Object 'b/a' is subject to a"),
        ("Quota exceeded, token=secret", "refused (Quota exceeded); correct this"),
    ],
)
def test_a_refusal_that_no_role_changes_is_shown_in_the_words_of_the_store(words, shown):
    with pytest.raises(StoreError) as raised, objects.writing(ADDRESS):
        raise OSError(f"Forbidden: https://host/b/quota/o\n{words}")  # of gcsfs
    assert str(raised.value).startswith(f"gs://b/a: cannot be written: {shown}")


def test_a_store_without_space_says_so():
    full = gcsfs.retry.HttpError({"code": 507, "message": "Insufficient Storage"})
    message = "written: the store has no space left .*; make room"
    with pytest.raises(StoreError, match=message), objects.writing(ADDRESS):
        raise full


@pytest.mark.parametrize("address", ["gs://b/a", "az://b/a"])
@pytest.mark.parametrize("kind", [OSError, aiohttp.ClientError, ImportError])
@pytest.mark.parametrize(
    "text",
    [
        "GET https://host/b/o?access_token=ya29.secret failed",
        "https://host/b/o?sv=2024&sig=secret",
        "https://user:secret@host: no route",
        "https://user:secret@secret@host: no route",
        "sent Authorization: Bearer secret",
        "sent Authorization: Basic secret",
        "Authorization: AWS4-HMAC-SHA256 Credential=secret/2026, Signature=secret",
        '{"access_token": "secret", "refresh_token": "secret"}',
        "AccountKey=secret;x-ms-token: secret",
        "hf_secret",
        "token ya29.secret-secret is not valid",
    ],
)
def test_credentials_are_left_out_of_errors(address, kind, text):
    for block in (locations.refusing, objects.reading):
        with pytest.raises(Exception, match=f"^{address}: ") as raised, block(StoragePath(address)):
            raise kind(f"before {text}")
        message = str(raised.value)
        assert "secret" not in message and "before" in message
