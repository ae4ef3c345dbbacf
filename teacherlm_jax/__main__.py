"""`python -m teacherlm_jax` is the command `teacherlm`."""

import sys

from teacherlm_jax.cli import main

sys.exit(main())
