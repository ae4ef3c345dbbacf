"""Reads the pinned requirements: the version of each package for an extra and a Python."""

import functools
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEVICES = ("cuda", "tpu")  # their files add to requirements.txt


def environment(python, machine="x86_64"):
    """Values of environment markers on Linux."""
    return {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "implementation_name": "cpython",
        "implementation_version": python,
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": machine,
        "platform_release": "",
        "platform_version": "",
    }


def holds(requirement, values, extras=()):
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate(values | {"extra": name}) for name in ("", *extras)
    )


@functools.cache
def lines_of(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def files_of(extra):
    """Files whose pins serve an extra; the empty one is the base."""
    if extra in DEVICES:
        return ("requirements.txt", f"requirements-{extra}.txt")
    return (f"requirements-{extra}.txt" if extra else "requirements.txt",)


def pins_of(extra, values):
    """Version of each package that the files of an extra install."""
    pins = {}
    for file in files_of(extra):
        for line in lines_of(file):
            if holds(line, values):
                (pin,) = line.specifier
                name = canonicalize_name(line.name)
                assert pin.operator == "==", f"{file}: {line}"
                assert name not in pins, f"{file}: two pins of {name} for {values}"
                pins[name] = pin.version
    return pins
