"""Submit one command as a job on the TPUs of a GKE cluster; see docs/how-to/launch.md."""

import sys

from teacherlm_jax.launching.gke import main

if __name__ == "__main__":
    sys.exit(main())
