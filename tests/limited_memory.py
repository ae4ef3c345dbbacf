"""Commands under a limit of the address space, which stands in for the memory of a device."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

_CODE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit} << 30, {limit} << 30))
from teacherlm_jax.cli import main
{patch}
sys.exit(main.main(sys.argv[1:]))
"""


def run_limited(
    limit: int, words: Sequence[str], environment: Mapping[str, str], patch: str = ""
) -> tuple[int, str]:
    """Run `teacherlm` with so many GiB; return its status and what it wrote to standard error.

    `patch` is Python code that runs first, as to disable the checks that refuse too large settings,
    so that memory runs out on machines of any size.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CODE.format(limit=limit, patch=patch), *words],
        capture_output=True, text=True, env=dict(environment), check=False, timeout=300,
    )  # fmt: skip
    assert done.stderr.count("\n") <= 1, done.stderr
    return done.returncode, done.stderr
