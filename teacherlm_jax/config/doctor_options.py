"""Command-line options of `teacherlm doctor`."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import location, number, plain


@dataclasses.dataclass
class DoctorOptions:
    """The folder of runs and the clock to examine besides this machine, and the time for it."""

    folder: str = location(
        "runs",
        local=True,
        help="folder where runs go; for one in a bucket, a small object is written, read, listed "
        "and deleted",
    )
    server: str = plain(
        "", help="server whose clock is compared, such as https://www.google.com; empty: the bucket"
    )
    seconds: float = number(
        10.0,
        limits="[0, 10]",
        help="seconds of matrix products on the accelerator, or at most 5 on a CPU; 0: none",
    )
    json: bool = plain(False, help="print JSON instead of a table")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.server and not self.server.startswith(("http://", "https://")):
            yield "server", f"expected an address that begins with https://, got {self.server!r}"
