"""Run the command of a SkyPilot job on one of its nodes; launch/skypilot.yaml starts this module.

SkyPilot starts it on every node, with the variables SKYPILOT_NODE_IPS (one address per line, that
of node 0 first), SKYPILOT_NODE_RANK and SKYPILOT_NUM_NODES.
"""

import os
import shlex
import sys
from collections.abc import Mapping

from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import distributed

COMMAND = "TEACHERLM_COMMAND"
_PORT = 8482  # of the coordinator, on node 0
_RANK, _NODES, _ADDRESSES = "SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES", "SKYPILOT_NODE_IPS"


def main() -> None:
    """Become the command of this node; exit with status 2 if the variables are invalid."""
    try:
        words = words_of(os.environ)
        settings = settings_of(os.environ)
    except UserError as error:
        print(f"launch: {error}", file=sys.stderr)
        sys.exit(2)
    command = [sys.executable, "-m", "teacherlm_jax", *words]
    # No process stays in between, so that a signal reaches the command, and reaches it once.
    os.execve(sys.executable, command, {**os.environ, **settings})


def words_of(environment: Mapping[str, str]) -> list[str]:
    """Return the words of the command; UserError if there are none."""
    try:
        words = shlex.split(environment.get(COMMAND, ""))
    except ValueError as error:
        raise UserError(f"{COMMAND}: {error}; expected words quoted as in a shell") from None
    if not words:
        raise UserError(
            f"{COMMAND} is not set; submit the job with `python launch/submit.py skypilot -- train "
            "--config=FILE.py`"
        )
    return words


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which the processes of the nodes find each other.

    Raises UserError if SkyPilot's variables do not agree.
    """
    settings = {"PYTHONUNBUFFERED": "1"}
    rank, count = environment.get(_RANK, ""), environment.get(_NODES, "")
    addresses = environment.get(_ADDRESSES, "").split()
    agrees = rank.isdecimal() and count.isdecimal() and len(addresses) == int(count) > int(rank)
    if not agrees:
        raise UserError(
            f"{_RANK}={rank!r}, {_NODES}={count!r}, {_ADDRESSES}={addresses}: expected the index "
            "of this node, the number of nodes and one address for each; start this with SkyPilot"
        )
    if int(count) > 1:
        settings[distributed.ADDRESS] = f"{addresses[0]}:{_PORT}"
        settings[distributed.COUNT] = count
        settings[distributed.INDEX] = rank
    return settings


if __name__ == "__main__":
    main()
