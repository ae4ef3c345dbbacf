"""The client of gs:// as a user's process has it: without any setting of the tests."""

import os
import subprocess
import sys

_WORK = """
import pathlib, sys
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.storage import objects

folder, here = sys.argv[1], pathlib.Path(sys.argv[2])
objects.put(f"{folder}/put", b"content")
assert objects.read(f"{folder}/put") == b"content"
objects.download(f"{folder}/put", here)
objects.upload(here, f"{folder}/uploaded")
StoragePath(f"{folder}/written").write_bytes(here.read_bytes())
new = objects.NewObject(f"{folder}/new")
new.write(b"content")
new.close()
assert objects.listing(folder) == dict.fromkeys(["put", "uploaded", "written", "new"], 7)
"""


def test_a_process_without_settings_for_gcsfs_uses_a_bucket(bucket, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name[:6] != "GCSFS_"}
    done = subprocess.run(
        [sys.executable, "-c", _WORK, bucket, tmp_path / "here"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
