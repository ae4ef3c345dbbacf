"""The time for which TensorStore retries requests to a bucket."""

import logging

import pytest
from orbax.checkpoint._src.serialization import tensorstore_utils

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.storage.paths import StoragePath

NAMES = restore._CONTEXTS[1:]


@pytest.fixture(autouse=True)
def own_contexts(monkeypatch):
    for name in NAMES:
        context = dict(getattr(tensorstore_utils, name))
        context.pop("gcs_request_retries", None)
        monkeypatch.setattr(tensorstore_utils, name, context)


@pytest.mark.parametrize("use_ocdbt", [True, False])
def test_the_contexts_of_orbax_retry_for_a_minute(use_ocdbt):
    restore.limit_repeats(StoragePath("gs://b/run/checkpoints"))
    context = tensorstore_utils.get_ts_context(use_ocdbt=use_ocdbt)
    retries = context["gcs_request_retries"].to_json()
    assert retries == {"max_retries": 7, "initial_delay": "952ms", "max_delay": "15.238s"}


def test_a_run_on_a_disk_changes_nothing_of_orbax(tmp_path, monkeypatch):
    monkeypatch.setattr(restore, "_CONTEXTS", ("no_such_module",))
    restore.limit_repeats(StoragePath(tmp_path))
    assert all("gcs_request_retries" not in getattr(tensorstore_utils, name) for name in NAMES)


@pytest.mark.parametrize("names", [("no_such_module",), (restore._CONTEXTS[0], "_NONE")])
def test_a_version_of_orbax_with_other_names_is_logged(monkeypatch, caplog, names):
    monkeypatch.setattr(restore, "_CONTEXTS", names)
    with caplog.at_level(logging.WARNING, "absl"):
        restore.limit_repeats(StoragePath("gs://b/run/checkpoints"))
    assert "gs://b/run/checkpoints: a request that fails may be retried for 15" in caplog.text
