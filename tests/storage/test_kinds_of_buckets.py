"""Kinds of buckets: zonal ones are refused, all others are used."""

import itertools
import json

import pytest

from benchmarks import bucket as bucket_server
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files, locations, objects
from teacherlm_jax.storage.paths import StoragePath

_names = (f"kind-{number}" for number in itertools.count())  # a process asks once for each bucket


@pytest.fixture
def other(proxy):
    """Name of a new bucket that this process has not used."""
    name = next(_names)
    bucket_server.create_bucket(proxy.url, name)
    proxy.clear()
    return name


@pytest.mark.parametrize(
    "use",
    [
        lambda path: objects.put(path, b"text"),
        objects.read,
        lambda path: objects.create(path, b"text"),
        lambda path: objects.listing(path),
        lambda path: objects.download(path, "unused"),
        objects.remove,
        objects.refuse_missing_bucket,
        files.is_folder,
        lambda path: locations.expand("", f"{path}/*"),
        lambda path: StoragePath(path).exists(),
    ],
)
def test_a_zonal_bucket_is_refused_by_name_at_its_first_use(proxy, other, use):
    answer = {"kind": "storage#bucket", "locationType": "zone", "storageClass": "RAPID"}
    proxy.fail(json.dumps(answer, indent=2).encode(), "bucket", f"/b/{other}")
    for _ in range(2):
        with pytest.raises(UserError, match=f"^gs://{other}: zonal buckets .* are not supported; "):
            use(f"gs://{other}/folder/a")
    assert proxy.counts == {"bucket": 1}


@pytest.mark.parametrize("hierarchical", [True, False])
def test_the_kind_of_any_other_bucket_is_asked_for_once(proxy, other, hierarchical):
    answer = {"locationType": "region", "hierarchicalNamespace": {"enabled": hierarchical}}
    proxy.fail(json.dumps(answer).encode(), "bucket", f"/b/{other}")
    for name in "abc":
        objects.put(f"gs://{other}/folder/{name}", b"text")
    objects.remove_folder(f"gs://{other}/folder")
    assert objects.listing(f"gs://{other}") == {}
    assert proxy.counts["bucket"] == 1


@pytest.mark.parametrize("answer", [403, 404, 503, "reset", b"no JSON"])
def test_a_bucket_whose_kind_is_not_known_is_used(proxy, other, answer):
    """Permission to read objects does not include that to read the bucket's metadata."""
    fault = proxy.fail(answer, "bucket")
    objects.put(f"gs://{other}/folder/a", b"text")
    assert objects.read(f"gs://{other}/folder/a") == b"text"
    assert objects.listing(f"gs://{other}/folder") == {"a": 4}
    assert fault.failed == 1
