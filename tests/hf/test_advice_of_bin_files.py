"""Following the advice of messages about PyTorch's .bin files gives the same tensors."""

import re
import zipfile

import numpy as np
import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.hf.torch_bin import read_header
from teacherlm_jax.storage import objects
from teacherlm_jax.storage.paths import StoragePath

torch = pytest.importorskip("torch", reason="no torch for this Python: requirements-torch.txt")

REWRITE = "rewrite it in Python: "
TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}


class Holder(torch.nn.Module):
    """A model that is pickled as a whole."""

    def __init__(self):
        super().__init__()
        for name, tensor in TENSORS.items():
            self.register_buffer(name, tensor)


def entries(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rezip(path, change, compression=zipfile.ZIP_STORED):
    changed = {name: change(name, content) for name, content in entries(path).items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in changed.items():
            if content is not None:
                archive.writestr(name, content)


def big_endian(name, content):
    if "/data/" in name:
        return np.frombuffer(content, "<f4").astype(">f4").tobytes()
    return b"big" if name.endswith("byteorder") else content


def old(path):
    torch.save(TENSORS, path, _use_new_zipfile_serialization=False)


def transposed(path):
    torch.save(TENSORS | {"a": TENSORS["a"].T.contiguous().T}, path)


def without(part):
    return lambda path: rezip(path, lambda name, data: None if part in name else data)


def shorter(part):
    return lambda path: rezip(path, lambda name, data: data[:4] if part in name else data)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def longer(path):
    rezip(path, lambda name, data: b"little" * 99 if "byteorder" in name else data)


def unframed(path):
    content, start = path.read_bytes(), read_header(path)["a"].offset
    own = content.rindex(b"PK\3\4", 0, start)
    path.write_bytes(content[:own] + bytes(start - own) + content[start:])


def oversized(path):
    """Say in the directory at the end of the file that the bytes of `a` are more than the file."""
    content = path.read_bytes()
    name = content.rindex(b"data/0")
    sizes = content.rindex(b"PK\1\2", 0, name) + 20
    size = (10**9).to_bytes(4, "little")
    path.write_bytes(content[:sizes] + 2 * size + content[sizes + 8 :])


def restore(path, message, backup):
    path.write_bytes(backup)


def rewrite(path, message, backup):
    exec(message.partition(REWRITE)[2], {})


def save_state(path, message, backup):
    torch.save(torch.load(path, weights_only=False).state_dict(), path)


def save_part(path, message, backup):
    torch.save(torch.load(path, weights_only=True)["model"], path)


ONLY = "save only the dictionary of tensors, such as model.state_dict(), with torch.save"

# What happened to the file, the words of the message with the advice, and the advice as code.
WAYS = {
    "old format": (old, "if it is older, where you trust the file, rewrite it in Pyt", rewrite),
    "transposed": (transposed, "is stored with strides [1, 2], expected [3, 1]; where", rewrite),
    "big-endian": (lambda path: rezip(path, big_endian), "are big-endian; where you", rewrite),
    "compressed": (
        lambda path: rezip(path, lambda name, data: data, zipfile.ZIP_DEFLATED),
        "is compressed or encrypted, which PyTorch never does; where you trust",
        rewrite,
    ),
    "whole model": (
        lambda path: torch.save(Holder(), path),
        f"load it with torch.load(…, weights_only=False) and {ONLY}",
        save_state,
    ),
    "training": (
        lambda path: torch.save({"model": TENSORS, "step": 3}, path),
        f"'model' is a dict, expected a tensor; if it holds more than tensors, {ONLY}",
        save_part,
    ),
    "list": (
        lambda path: torch.save({"losses": [1.0], "model": TENSORS}, path),
        f"if it holds more than tensors, {ONLY}",
        save_part,
    ),
    "pickle": (
        lambda path: rezip(path, lambda name, data: b"no" if "data.pkl" in name else data),
        "if it is damaged, copy it again",
        restore,
    ),
    "no pickle": (without("data.pkl"), "PyTorch did not write it; copy the weights again", restore),
    "no bytes": (without("data/0"), "the bytes of a are missing; copy it again", restore),
    "few bytes": (shorter("data/0"), "which has 4; copy it again", restore),
    "long entry": (longer, "has 594 bytes, expected at most 100; copy it again", restore),
    "unframed": (unframed, "header and the next record; copy it again", restore),
    "oversized": (oversized, "is truncated: pytorch_model/data/0 ends at byte", restore),
    "truncated": (truncated, "if it is truncated or damaged, copy it again", restore),
}


@pytest.mark.parametrize("fault", WAYS)
def test_following_the_advice_for_a_bin_file_works(tmp_path, fault):
    damage, words, mend = WAYS[fault]
    path = tmp_path / "pytorch_model.bin"
    torch.save(TENSORS, path)
    backup = path.read_bytes()
    damage(path)
    with pytest.raises(UserError) as raised:
        read_header(path)
    message = str(raised.value)
    assert words in message, message
    mend(path, message, backup)
    header = read_header(path)
    assert header.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(header[name].read(), tensor.numpy())


@pytest.mark.parametrize("fault", [name for name, way in WAYS.items() if way[2] is not restore])
def test_following_the_advice_for_a_bin_file_in_a_bucket_works_on_a_copy(
    bucket, tmp_path, monkeypatch, fault
):
    damage, _, mend = WAYS[fault]
    address = StoragePath(bucket) / "hf" / "pytorch_model.bin"
    here = tmp_path / address.name
    torch.save(TENSORS, here)
    backup = here.read_bytes()
    damage(here)
    objects.upload(here, address)
    here.unlink()
    with pytest.raises(UserError) as raised:
        read_header(address)
    message = str(raised.value)
    assert re.search(f"on this machine|copy it to this machine, {REWRITE}", message)
    back = re.search(r"copy it back to (gs://[^\s;]+)", message)[1]

    monkeypatch.chdir(tmp_path)
    objects.download(address, here)
    mend(here, message.partition("; then copy it back")[0], backup)
    objects.upload(here, f"{back}/{here.name}")
    header = read_header(address)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(header[name].read(), tensor.numpy())
