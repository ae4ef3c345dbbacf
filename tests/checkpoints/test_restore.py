"""Damage to a checkpoint is always detected, and reported in one line."""

import asyncio
import random
import re
import shutil
import subprocess
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacherlm_jax.checkpoints import restore
from teacherlm_jax.checkpoints.saved_model import open_checkpoint
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.cli import failures
from teacherlm_jax.errors import UserError

META = {"progress": {"step": 7, "tokens": 1234, "window": [{"loss": 0.1}, {"loss": 12.5}]}}


def state(step):
    params = {
        "blocks": {"up": jnp.arange(600, dtype=jnp.float32).reshape(2, 30, 10) + step},
        "bias": jnp.full((7,), step, jnp.bfloat16),
    }
    moments = jax.tree.map(lambda array: array * 2, params)
    return params, {"moments": moments, "step": jnp.int32(step), "key": jnp.uint32([1, step])}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(run, keep=2)
    for step in (1, 2):
        checkpoints.save(step, *state(step), META)
    checkpoints.close()
    return run


def read(run):
    """Return everything that a run is resumed from."""
    checkpoints, step = open_checkpoint(run)
    where = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    params, optimizer = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=where), state(0)
    )
    actual = (checkpoints.params(step, params), checkpoints.optimizer(step, optimizer))
    meta = checkpoints.meta(step)
    checkpoints.close()
    return meta, [np.asarray(array).tobytes() for array in jax.tree.leaves(actual)]


def damaged(content, kind, draw):
    if kind == "cut":
        return content[: len(content) // 2]
    flipped = bytearray(content)
    flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def test_a_damaged_file_gives_the_same_bits_or_a_one_line_error(run, capfd):
    expected, draw, refused = read(run), random.Random(0), set()
    paths = sorted(path for path in (run / "checkpoints/2").rglob("*") if path.is_file())
    for path in paths:
        content = path.read_bytes()
        for kind in ("flipped", "cut", "missing"):
            if kind == "missing":
                path.unlink()
            else:
                path.write_bytes(damaged(content, kind, draw))
            try:
                assert read(run) == expected, f"{path} {kind}: other values were restored"
            except UserError as error:
                refused.add(f"{path.parts[path.parts.index('2') + 1]} {kind}")
                message = str(error)
                assert message.startswith(f"{run}/checkpoints/2: "), message
                assert "\n" not in message and "<" not in message
                assert message.endswith(f"remove {run}/checkpoints/2 to resume from step 1")
            path.write_bytes(content)
    for item in ("params", "optimizer", "meta"):
        assert {f"{item} {kind}" for kind in ("flipped", "cut", "missing")} <= refused
    assert capfd.readouterr().err == ""


def test_every_flipped_bit_of_meta_is_detected(run):
    checkpoints = Checkpoints(run)
    expected, path = checkpoints.meta(2), run / "checkpoints/2/meta/metadata"
    content, draw = path.read_bytes(), random.Random(1)
    for position in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[position] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(flipped))
        with pytest.raises(UserError, match=r"checkpoints/2: .*meta .*to resume from step 1"):
            raise AssertionError(f"{position}: {checkpoints.meta(2)} instead of {expected}")


def test_the_remedy_names_no_checkpoint_with_damaged_meta(run):
    (run / "checkpoints/1/meta/metadata").write_text("{}")
    (run / "checkpoints/2/meta/metadata").write_text('{"progress": {}}')
    with pytest.raises(
        UserError,
        match=r"checkpoints/2: meta differs from what was saved .* no other complete checkpoint",
    ):
        Checkpoints(run).meta(2)


def test_a_run_begins_anew_once_its_damaged_checkpoints_are_removed(run):
    for step in (1, 2):
        (run / f"checkpoints/{step}/meta/metadata").write_text("{}")
    with pytest.raises(UserError, match="remove it and train again") as raised:
        Checkpoints(run).meta(2)
    folder = re.search(r"(\S+) has no other complete checkpoint", str(raised.value))[1]
    shutil.rmtree(folder)
    assert Checkpoints(run).steps() == []


@pytest.mark.parametrize(
    ("folder", "named"),
    [("d", r"params/d/{file}: "), ("ocdbt.process_0/d", r'reading "(blocks\.up|bias)/')],
)
def test_the_message_names_the_file_or_the_array_that_cannot_be_read(run, folder, named):
    paths = (run / "checkpoints/2/params" / folder).iterdir()
    largest = max(paths, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:20])
    with pytest.raises(
        UserError, match=rf"params cannot be read \(.*{named.format(file=largest.name)}"
    ):
        read(run)


@pytest.fixture
def small_disk(tmp_path):
    """Folder on a separate disk of one MiB, and a function that enlarges the disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    completed = subprocess.run(mount, capture_output=True, text=True, check=False)
    if completed.returncode:
        pytest.skip(f"no small disk can be mounted here: {completed.stderr.strip()}")
    yield (
        folder,
        lambda: subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True),
    )
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def check_after_every_step(checkpoints):
    """Check for errors of a running save, as a run does after every step."""
    for _ in range(1000):
        checkpoints.check()
        time.sleep(0.01)


def test_a_full_disk_is_reported_in_one_line_and_earlier_checkpoints_survive(small_disk, capfd):
    run, enlarge = small_disk
    checkpoints = Checkpoints(run, keep=1)
    checkpoints.save(1, *state(1), META)
    checkpoints.check()
    checkpoints.wait()
    large = {"x": jnp.zeros(400_000)}
    checkpoints.save(2, large, {"step": jnp.int32(2)}, META)
    with pytest.raises(Exception, match="No space left on device") as failure:
        check_after_every_step(checkpoints)
    message = failures.of_the_machine(failure.value)
    assert message.startswith(f"{run}/checkpoints")
    assert "No space left on device; finished work is intact" in message
    checkpoints.close()
    assert read(run)[0]["step"] == 1
    assert capfd.readouterr().err == ""

    enlarge()
    again = Checkpoints(run, keep=1)
    again.save(2, large, {"step": jnp.int32(2)}, META)
    again.close()
    assert [path.name for path in again.folder.iterdir()] == ["2"]


def test_event_loops_are_restored_after_the_last_reader_closed():
    """Checkpoints may be closed in any order."""
    original = asyncio.new_event_loop
    first, second = restore.orderly(), restore.orderly()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    loop = asyncio.new_event_loop()
    assert type(loop).__module__ == restore.__name__
    loop.close()
    second.__exit__(None, None, None)
    assert asyncio.new_event_loop is original
