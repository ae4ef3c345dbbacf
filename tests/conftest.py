"""Strict numerics, eight simulated devices and no network, for every test."""

import ctypes
import gc
import itertools
import json
import os
import re
import shutil

from tests import xla_flags

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} {xla_flags.FAST} --xla_force_host_platform_device_count=8"
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"
# Threads of torch that wait for each other take the cores from the other worker.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib
import socket

import hypothesis
import jax
import pytest
from etils import epath

from tests import array_hints

array_hints.install()  # before the package is imported

from benchmarks import bucket as bucket_server
from benchmarks import bucket_proxy, prepared_rows
from teacherlm_jax.data import packing
from teacherlm_jax.storage import objects

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

hypothesis.settings.register_profile("untimed", deadline=None)  # machines differ in speed
hypothesis.settings.load_profile("untimed")

_folders = itertools.count()
_libc = ctypes.CDLL("libc.so.6")
os.fsync = lambda handle: None  # tests need not wait for the disk
_MOST_MEMORY = 1.9 * 2**30  # of a worker; its imports take 1.6 GiB
_GROWTH = 2**28  # of a worker that has more, until it frees programs again
_after_freeing = [0]  # bytes that were resident
_LOCAL = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
    """Keep compiled programs for the session: many tests compile the same ones."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="module", autouse=True)
def free_programs():
    """Free the programs of a test file after it, which would add up to gigabytes in a worker."""
    yield
    _free()


@pytest.fixture(autouse=True)
def free_many_programs():
    """Free the programs of a test file before its end if they are many.

    Not after every test of a worker that cannot free enough: freeing takes a second.
    """
    yield
    if _resident() > max(_MOST_MEMORY, _after_freeing[-1] + _GROWTH):
        gc.unfreeze()  # also objects that became garbage since
        _free()


def _free():
    jax.clear_caches()
    gc.collect()
    gc.freeze()  # later collections leave out what is still used, such as all modules
    _libc.malloc_trim(0)  # gives freed memory back to the system
    _after_freeing[:] = [_resident()]


def _resident() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def no_mesh_is_left():
    """Fail a test that leaves a mesh set, on which all later tests would compute."""
    before = jax.sharding.get_abstract_mesh()
    yield
    assert jax.sharding.get_abstract_mesh() == before, "the test left a mesh set"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Make a connection to another machine fail with its address."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOCAL:
            raise OSError(f"tests must not use the network, but this one connects to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def _bucket_url():
    with bucket_server.server() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket_server.environment(url).items():
            patch.setenv(name, value)
        yield url


@pytest.fixture
def bucket(_bucket_url, request, tmp_path_factory, monkeypatch) -> str:
    """Address of an empty folder in a bucket on this machine, in this process and its children.

    In this process, paths of `etils.epath` that are no `StoragePath` cannot reach it.
    """
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # of the cache of rows
    monkeypatch.setattr(epath.backend.fsspec_backend, "fs", _refuse)
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60]
    return f"gs://{bucket_server.NAME}/{name}-{next(_folders)}"


def _refuse(path):
    raise AssertionError(f"{path}: is not a StoragePath, so it has a client of another package")


@pytest.fixture
def proxy(_bucket_url, monkeypatch):
    """A proxy that injects faults, through which this test and its children reach the bucket.

    Transient errors are retried for a few seconds.
    """
    monkeypatch.setattr(objects, "PATIENCE", 3.0)
    with bucket_proxy.serving(_bucket_url) as proxy:
        for name, value in bucket_server.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture(scope="session")
def torch():
    """PyTorch, whose pinned version has no build for newer Pythons; requirements-torch.txt."""
    return pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Folder of real data: TEACHERLM_DATA, or `shared/data` next to the checkout."""
    default = pathlib.Path(__file__).parents[2] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("TEACHERLM_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"{folder}: no such folder; set TEACHERLM_DATA to the folder of real data")
    return folder


@pytest.fixture(scope="session")
def opt_folder(shared_data, tmp_path_factory):
    """Folder with OPT's vocabulary files and the configs of OPT's checkpoints."""
    folder = tmp_path_factory.mktemp("opt")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(shared_data / "opt_tokenizer" / f"gpt2-{name}", folder / name)
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    end = {"__type": "AddedToken", "content": "</s>", **flags}
    named = {"bos_token": end, "eos_token": end, "unk_token": end, "pad_token": "<pad>"}
    config = {"add_prefix_space": False, "add_bos_token": True, "tokenizer_class": "GPT2Tokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named | config))
    (folder / "special_tokens_map.json").write_text(json.dumps(named))
    ids = {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}
    (folder / "config.json").write_text(json.dumps({"model_type": "opt"} | ids))
    return folder


@pytest.fixture(scope="session")
def write_prepared():
    """Function that writes a prepared folder from encoded texts, a vocabulary and a length."""
    return _write_prepared


def _write_prepared(folder, encoded, vocabulary, length, rows_per_shard=16, **manifest):
    rows = packing.pack(encoded, length)
    prepared_rows.write_prepared(
        *(folder, rows, vocabulary),
        length=length,
        rows_per_shard=rows_per_shard,
        author="teacher",
        **manifest,
    )
    return folder


@pytest.fixture(scope="session")
def one_device(tmp_path_factory) -> dict[str, str]:
    """Environment for commands in child processes: one device and a compilation cache."""
    cache = str(tmp_path_factory.mktemp("compiled"))
    return {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_FLAGS": xla_flags.FAST,
    }
