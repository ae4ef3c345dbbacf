"""A run continues after its console was closed."""

import subprocess
import sys

import pytest

from teacherlm_jax.runs import layout

RUN = """
import sys
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.runs import run_folder

with run_folder.open_run(sys.argv[1], "train", TrainConfig(output=sys.argv[1], data="d")) as run:
    sys.stdin.read()
    for number in range(9):
        run.log.info("line %d", number)
    run.finish({})
"""


@pytest.mark.parametrize("end", ["", " 2>&1"])
def test_a_run_whose_console_was_closed_continues_and_logs_to_its_file(tmp_path, end):
    words = f"{sys.executable} -c '{RUN}' {tmp_path}/run{end}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; (sleep 0.1) | {words} | (exec <&-; sleep 0)"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / layout.RESULT).exists()
    lines = [
        line.split(maxsplit=3)[3]
        for line in (tmp_path / "run" / layout.LOG).read_text().splitlines()
    ]
    closed = "the console cannot be written ([Errno 32] Broken pipe); further messages are only"
    assert lines == [f"{closed} here", *(f"line {number}" for number in range(9))]
