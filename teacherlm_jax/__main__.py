"""`python -m teacherlm_jax` is the command `teacherlm`."""

import gc
import sys
from typing import NoReturn

from teacherlm_jax.cli.main import main


def command() -> NoReturn:
    """Run the words of this process's command line, and exit with their status.

    When Python exits, it looks for garbage among all objects that it tracks. Here they are taken
    from it: after JAX or TensorFlow was imported, the search takes about a second.
    """
    try:
        status = main()
    finally:
        gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    command()
