"""`make bench-kill_train_bucket`: kills of runs whose folder is in a bucket.

As `make bench-kill_train`, but the killed runs are in a bucket (an object store on this machine),
and their temporary files are thrown away after each kill. They must equal an uninterrupted run on a
disk.
"""

import os
import sys
import tempfile
from pathlib import Path

from benchmarks import bucket, kill_train


def main() -> int:
    """Run the benchmark and return its exit status."""
    with tempfile.TemporaryDirectory(prefix="kill_train") as folder, bucket.server() as url:
        os.environ.update(bucket.environment(url))
        return kill_train.measured(Path(folder), "kill_train_bucket", f"gs://{bucket.NAME}/runs")


if __name__ == "__main__":
    sys.exit(main())
