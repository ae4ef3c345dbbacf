"""A gcloud that owns nothing: it writes down its arguments, and does what its cues say.

TEACHERLM_FAKE names a folder. There `calls.jsonl` takes the arguments of every call. `cues.json`
may hold, for each command, statuses to end with, one after the other (0 when used up), and under
"states" the states that a slice goes through once it was created (ACTIVE when used up). Under
"errors" are messages for the statuses that are not 0. What
`ssh --command` says is run by bash in `home`, as a host's login shell would.
"""

import json
import os
import pathlib
import subprocess
import sys

folder = pathlib.Path(os.environ["TEACHERLM_FAKE"])
words = sys.argv[1:]
command = words[3]

with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(words) + "\n")


def take(name, default):
    """The next cue of this name."""
    path = folder / "cues.json"
    cues = json.loads(path.read_text()) if path.exists() else {}
    value = cues.get(name) and cues[name].pop(0)
    path.write_text(json.dumps(cues))
    return default if value in (None, []) else value


status = take(command, 0)
if status and (message := take("errors", "")):
    print(message, file=sys.stderr)
if command == "describe":
    if not (folder / "created").exists():
        sys.exit("ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: no such")
    print(take("states", "ACTIVE"))
elif command == "create" and not status:
    (folder / "created").touch()
elif command == "delete":
    (folder / "created").unlink(missing_ok=True)
elif command == "scp":
    (folder / "home" / pathlib.Path(words[4]).name).write_bytes(pathlib.Path(words[4]).read_bytes())
elif command == "ssh" and not status:
    line = next(word for word in words if word.startswith("--command=")).partition("=")[2]
    home = folder / "home"
    status = subprocess.run(
        ["bash", "-c", line], cwd=home, env={**os.environ, "HOME": str(home)}
    ).returncode
sys.exit(status)
