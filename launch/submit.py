"""Submit one command to Slurm or SkyPilot; see docs/how-to/launch.md."""

import sys

from teacherlm_jax.launching.submit import main

if __name__ == "__main__":
    sys.exit(main())
