"""`python -m teacherlm_jax` is the command `teacherlm`."""

import sys

from teacherlm_jax.cli.main import main

sys.exit(main())
