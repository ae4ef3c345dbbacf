"""Run one command in several processes on this machine; see docs/how-to/several-processes.md."""

import sys

from teacherlm_jax.launching.local import main

if __name__ == "__main__":
    sys.exit(main())
