"""`make bench-bucket_publish`: requests and seconds that a run in a bucket costs.

A tiny model trains for 1,000 steps, with a line of metrics every 10 and a checkpoint every 100. The
bucket is an object store on this machine, behind a proxy that counts requests and delays each by
20 ms, which stands for the way to a store.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import collections
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import bucket, bucket_proxy, harness, kill_train
from teacherlm_jax.cli import main as teacherlm
from teacherlm_jax.storage.mirror import Mirror

STEPS, CHECKPOINT_EVERY, LOG_EVERY = 1000, 100, 10
DELAY = 0.02  # seconds, of each request
GOAL = 2.0  # seconds of a publication, median
PRICE = {"write": 5e-6, "list": 5e-6, "copy": 5e-6, "remove": 0.0}  # US$ of one request
OTHER_PRICE = 4e-7  # US$ of a request that reads
SETTINGS = (
    f"--config.checkpoint.every={CHECKPOINT_EVERY}",
    f"--config.log_every={LOG_EVERY}",
    f"--config.validation.every={CHECKPOINT_EVERY}",
)


class Publication(NamedTuple):
    """The objects that one publication wrote or removed, and the seconds it took."""

    objects: int
    seconds: float


def timed(publications: list[Publication]) -> None:
    """Make every later publication of this process add itself to a list."""
    publish = Mirror.publish

    def recorded(mirror: Mirror) -> int:
        began = time.monotonic()
        objects = publish(mirror)
        publications.append(Publication(objects, time.monotonic() - began))
        return objects

    Mirror.publish = recorded  # type: ignore[method-assign]


def trained(folder: Path, output: str) -> float:
    """Train a run in `output`; return the seconds it took."""
    words = ["train", *kill_train.prepare(folder, STEPS), f"--config.output={output}"]
    began = time.monotonic()
    if teacherlm.main([*words, "--config.mesh.data=1", *SETTINGS]):
        raise RuntimeError(f"{output}: the run failed")
    return time.monotonic() - began


def report(
    publications: list[Publication], counts: collections.Counter[str], run: float, disk: float
) -> int:
    """Print and record the figures; return the exit status."""
    cost = sum(count * PRICE.get(kind, OTHER_PRICE) for kind, count in counts.items())
    seconds = statistics.median(publication.seconds for publication in publications)
    median = statistics.median(publication.objects for publication in publications)
    figures = {
        "publications": len(publications),
        "objects per publication, median": f"{median:.0f}",
        "seconds per publication, median": f"{seconds:.2f}",
        "seconds per publication, longest": f"{max(p.seconds for p in publications):.2f}",
        **{f"requests of the run: {kind}": count for kind, count in sorted(counts.items())},
        "requests of the run": counts.total(),
        "their price (US$)": f"{cost:.4f}",
        "the run in the bucket (s)": f"{run:.1f}",
        "the run on a disk (s)": f"{disk:.1f}",
    }
    text = harness.table(("figure", "value"), list(figures.items()))
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "bucket_publish", text + harness.conditions())
    figure = f"{seconds:.2f} s and {median:.0f} objects per publication"
    details = {"figures": figures}
    return harness.finish("bucket_publish", figure, f"at most {GOAL} s", seconds <= GOAL, details)


def main() -> int:
    """Run the benchmark and return its exit status."""
    publications: list[Publication] = []
    with tempfile.TemporaryDirectory(prefix="publish") as folder, bucket.server() as url:
        disk = trained(Path(folder), f"{folder}/run")
        with bucket_proxy.serving(url) as proxy:
            os.environ.update(bucket.environment(proxy.url))
            proxy.fail(delay=DELAY)
            timed(publications)
            run = trained(Path(folder), f"gs://{bucket.NAME}/run")
            return report(publications, proxy.counts, run, disk)


if __name__ == "__main__":
    sys.exit(main())
