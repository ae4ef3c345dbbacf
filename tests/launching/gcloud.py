"""A fake gcloud, which records its arguments and follows a script of cues.

TEACHERLM_FAKE names a folder. `calls.jsonl` in it receives the arguments of every call. `cues.json`
may hold the exit statuses of each command in order (then 0), under "states" the states of a slice
after its creation (then ACTIVE), and under "errors" messages for statuses other than 0. The line of
`ssh --command` is run by bash in `home`, like the login shell of a host.
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
    """Return the next cue of this name."""
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
