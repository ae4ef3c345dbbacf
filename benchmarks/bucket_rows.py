"""`make bench-bucket_rows`: rows of a bucket, read directly and through the cache.

The bucket is an object store on this machine, behind a proxy that delays each request by 20 ms,
which stands for the way to a store. Both ways read the same batches in the same order.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import gc
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import bucket, bucket_proxy, harness
from benchmarks.prepared_rows import write_prepared
from teacherlm_jax.data import packing, prepared
from teacherlm_jax.data.cached_rows import RowCache
from teacherlm_jax.data.packing import Encoded
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.storage import objects
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

ROWS, LENGTH, SHARD = 8192, 2048, 1024  # rows, tokens of a row, rows of a shard
BATCH = 32  # rows of a batch
DIRECT_BATCHES = 40  # batches that are read directly; 8 more are fetched ahead
DELAY = 0.02  # seconds, of each request
GOAL = 0.2  # epochs


def write(folder: Path) -> None:
    """Write rows of random tokens."""
    draw = np.random.default_rng(0)
    vocabulary = train_sentencepiece(["a b c d"], folder / "vocabulary", size=400, seed=0)
    texts = (
        Encoded(draw.integers(3, 250_000, LENGTH).tolist(), [True] * LENGTH) for _ in range(ROWS)
    )
    write_prepared(
        *(folder / "rows", packing.pack(texts, LENGTH), vocabulary),
        length=LENGTH,
        rows_per_shard=SHARD,
    )


def seconds_per_batch(data: Prepared, batches: int) -> float:
    """Return the mean seconds of a batch, prefetched as in training."""
    stream = data.reader(batch_size=BATCH).iterate()
    began = time.monotonic()
    for _ in itertools.islice(stream, batches):
        pass
    seconds = (time.monotonic() - began) / batches
    del stream
    gc.collect()  # ends the threads that fetch ahead
    return seconds


def main() -> int:
    """Run the benchmark and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="rows") as name, bucket.server() as url:
        folder = Path(name)
        write(folder)
        address = f"gs://{bucket.NAME}/rows"
        with bucket_proxy.serving(url) as proxy:
            os.environ.update(bucket.environment(proxy.url))
            for path in (folder / "rows").rglob("*"):
                if path.is_file():
                    objects.upload(path, f"{address}/{path.relative_to(folder / 'rows')}")
            proxy.fail(delay=DELAY)
            data = prepared.open(address)
            direct = seconds_per_batch(data, DIRECT_BATCHES)
            cache = RowCache(f"{folder}/cache", limit_gib=10, verify=True, say=print)
            began = time.monotonic()
            local = cache.local(data)
            copying = time.monotonic() - began
            cached = seconds_per_batch(local, ROWS // BATCH)
            cache.close()
    return report(direct, cached, copying, sum(s["bytes"] for s in data.manifest["shards"]))


def report(direct: float, cached: float, copying: float, size: int) -> int:
    """Print and record the figures; return the exit status."""
    epoch = ROWS / BATCH
    even = copying / (direct - cached) / epoch if direct > cached else float("inf")
    text = harness.table(
        ("way", "seconds before the first batch", "rows/s"),
        [
            ("each row from the bucket", "0", f"{BATCH / direct:,.0f}"),
            ("from the cache", f"{copying:.1f}", f"{BATCH / cached:,.0f}"),
        ],
    )
    text += f"\n{ROWS:,} rows of {LENGTH:,} tokens, {size / 1e6:.0f} MB in {ROWS // SHARD} shards. "
    text += f"The copy pays for itself after {even:.3f} epochs.\n"
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "bucket_rows", text + harness.conditions())
    figures = {"direct_seconds": direct, "cached_seconds": cached, "copying_seconds": copying}
    figure = f"the cache pays after {even:.3f} epochs, and is {direct / cached:.0f} times as fast"
    return harness.finish("bucket_rows", figure, f"at most {GOAL} epochs", even <= GOAL, figures)


if __name__ == "__main__":
    sys.exit(main())
