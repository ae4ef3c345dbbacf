"""`python -m teacherlm_jax` is the command `teacherlm`."""

import gc
import sys
from typing import NoReturn

from teacherlm_jax.cli.main import main
from teacherlm_jax.runs import imports


def command() -> NoReturn:
    """Run the words of this process's command line, and exit with their status.

    Python searches all objects that it tracks for garbage, now and then and when it exits. Those of
    imported packages are left out, and at the exit all are: a search among the objects of JAX or
    TensorFlow takes about a second.
    """
    imports.leave_out_of_collections()
    try:
        status = main()
    finally:
        gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    command()
