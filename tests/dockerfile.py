"""Reads a Dockerfile, and runs its instructions in folders, without a container engine.

Supports what our Dockerfile uses: FROM, RUN (shell form), COPY, ENV, ARG, WORKDIR, USER and
ENTRYPOINT.
"""

import dataclasses
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

KNOWN = ("ARG", "COPY", "ENTRYPOINT", "ENV", "RUN", "USER", "WORKDIR")

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # of container engines


@dataclasses.dataclass
class Stage:
    """One stage: its name, the image or stage that it begins with, and its instructions."""

    name: str
    base: str
    steps: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def stages(text):
    """Stages of a Dockerfile by name, in their order."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    instructions = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines()
    found = {}
    for instruction in filter(None, map(str.strip, instructions)):
        word, _, rest = instruction.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = stage = Stage(name, base)
            continue
        assert word in KNOWN, f"{word}: this reader does not know the instruction"
        stage.steps.append((word, rest.strip()))
    return found


def steps_of(target, found):
    """Instructions of a target, with those of the stages that it begins with."""
    stage = found[target]
    return [*(steps_of(stage.base, found) if stage.base in found else []), *stage.steps]


def image_of(target, found):
    """The image that a target begins with."""
    base = found[target].base
    return image_of(base, found) if base in found else base


def copied(rest):
    """Stage, sources and destination of COPY; the stage is empty for the build context."""
    words = shlex.split(rest)
    stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
    return stage, words[:-1], words[-1]


def is_ignored(path, text):
    """Whether .dockerignore leaves a path, relative to the build context, out of the context."""
    ignored = False
    parts = Path(path).parts
    for line in text.splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            names = parts if "**/" in line else parts[:1]
            if any(fnmatch.fnmatch(name, pattern) for name in names):
                ignored = not line.startswith("!")
    return ignored


class Roots:
    """Root folders of stages below one folder, built as a container engine builds images.

    Args:
        found: stages of the Dockerfile.
        context: build context.
        folder: parent of the root folders.
        images: root folder of each image that a stage begins with.
        arguments: values of ARG.
        environment: variables for every RUN, such as those of a proxy.
    """

    def __init__(self, found, context, folder, images, arguments, environment):
        self.found, self.context, self.folder = found, Path(context), Path(folder)
        self.images, self.arguments, self.environment = images, arguments, environment
        self.ignore = (self.context / ".dockerignore").read_text(encoding="utf-8")
        self.settings = {}  # of each stage: variables, working folder, user, entry point

    def build(self, name):
        """Root folder of a stage; the stages before it are built first."""
        root = self.folder / name
        if name in self.settings:
            return root
        stage = self.found[name]
        inherited = stage.base in self.found
        source = self.build(stage.base) if inherited else self.images[stage.base]
        state = dict(self.settings[stage.base]) if inherited else {}
        state.setdefault("variables", {"PATH": PATH})
        state.setdefault("folder", "/")
        state.setdefault("user", "root")
        for word, rest in stage.steps:
            if word == "COPY" and copied(rest)[0]:
                self.build(copied(rest)[0])
        print(f"== {name}: a copy of {stage.base}", flush=True)
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", source, root], check=True)
        for word, rest in stage.steps:
            print(f"{word} {rest}", flush=True)
            state = getattr(self, f"_{word.lower()}")(root, dict(state), rest)
        self.settings[name] = state
        return root

    def run(self, name, command):
        """Run a command in a stage as its user, and return what it prints."""
        return _inside(self.folder / name, self.settings[name], command, self.environment)

    def _run(self, root, state, rest):
        _inside(root, state, rest, self.environment)
        return state

    def _copy(self, root, state, rest):
        stage, sources, destination = copied(rest)
        target = root / os.path.join(state["folder"], destination).lstrip("/")
        several = len(sources) > 1 or destination.endswith("/")
        for source in sources:
            origin = self.folder / stage / source.lstrip("/") if stage else self.context / source
            assert stage or not is_ignored(source, self.ignore), f".dockerignore hides {source}"
            if origin.is_dir():
                hidden = None if stage else shutil.ignore_patterns("__pycache__")
                shutil.copytree(origin, target, symlinks=True, ignore=hidden, dirs_exist_ok=True)
            else:
                place = target / origin.name if several else target
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(origin, place)
        return state

    def _env(self, root, state, rest):
        words = (word.partition("=") for word in shlex.split(rest))
        new = {key: self._expanded(value, state) for key, _, value in words}
        return state | {"variables": state["variables"] | new}

    def _arg(self, root, state, rest):
        key, _, value = rest.partition("=")
        known = state.get("arguments", {})
        return state | {"arguments": known | {key: self.arguments.get(key, value)}}

    def _workdir(self, root, state, rest):
        (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        return state | {"folder": rest}

    def _user(self, root, state, rest):
        return state | {"user": rest}

    def _entrypoint(self, root, state, rest):
        return state | {"entrypoint": json.loads(rest)}

    def _expanded(self, value, state):
        values = state["variables"] | state.get("arguments", {})
        return re.sub(r"\$(\w+)", lambda match: values.get(match[1], ""), value)


def _inside(root, state, command, environment):
    """Run a shell command as the user of a stage in its root folder, with /proc and /sys."""
    change = f"cd {shlex.quote(state['folder'])} && {command}"
    words = [
        shutil.which("chroot"),
        f"--userspec={state['user']}",
        str(root),
        "/bin/sh",
        "-c",
        change,
    ]
    proc, system, memory = (shlex.quote(f"{root}/{name}") for name in ("proc", "sys", "dev/shm"))
    mounts = (
        f"mount -t proc proc {proc} && mount -t sysfs -o ro sysfs {system} && "
        f"mkdir -p {memory} && mount -t tmpfs tmpfs {memory}"
    )
    script = f"{mounts} && exec {shlex.join(words)}"
    completed = subprocess.run(
        [shutil.which("unshare"), "--mount", "sh", "-c", script],
        env={**environment, **state["variables"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, (
        f"{command}: status {completed.returncode}\n{completed.stdout}"
    )
    return completed.stdout
