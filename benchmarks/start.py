"""`make bench-start`: time until the command line has answered, in fresh processes."""

import statistics
import subprocess
import sys
import time

from benchmarks import harness

ROUNDS = 9
GOAL = 1.0  # seconds for the help
HELP = ("teacherlm --help", "teacherlm train --help")
VALIDATE = "teacherlm train --config=configs/quickstart.py:stage1 --validate"


def seconds(command: str) -> float:
    """Return the time of one run of a command."""
    words = [sys.executable, "-m", "teacherlm_jax", *command.split()[1:]]
    start = time.perf_counter()
    subprocess.run(words, cwd=harness.ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> int:
    """Run each command several times; print and save the times; return the exit status."""
    commands = (*HELP, VALIDATE)
    for command in commands:
        seconds(command)  # warm-up: the first process reads the files from the disk
    spent = {command: [seconds(command) for _ in range(ROUNDS)] for command in commands}
    rows = [
        (f"`{command}`", f"{statistics.median(times):.2f}", f"{max(times):.2f}")
        for command, times in spent.items()
    ]
    text = harness.table(("command", "median seconds", "largest"), rows)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "start", text + harness.conditions())
    slowest = max(statistics.median(spent[command]) for command in HELP)
    return harness.finish(
        "start", f"help in {slowest:.2f} s", f"{GOAL:.0f} s", slowest <= GOAL, {"seconds": spent}
    )


if __name__ == "__main__":
    sys.exit(main())
