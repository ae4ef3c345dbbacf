"""Run one command on every host of a Cloud TPU slice; see docs/how-to/several-processes.md."""

import sys

from teacherlm_jax.launching.tpu_pod import main

if __name__ == "__main__":
    sys.exit(main())
