"""Python and packages: versions installed, needed by the project, and tested with it."""

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

import teacherlm_jax
from teacherlm_jax.doctor.finding import OK, PROBLEM, SKIPPED, WARNING, Finding

_NAME = "teacherlm_jax"
_PINS = Path(teacherlm_jax.__file__).parents[1] / "requirements.txt"
_EXTRAS = ("cuda", "gcs", "tpu")  # whose pins are compared where they are installed
_SHOWN = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_ACCELERATORS = ("libtpu", "jax-cuda12-plugin", "jax-cuda13-plugin")
_FEW = 6  # packages that are named
_INSTALL = "run pip install -r requirements.txt in the clone"


def python() -> Finding:
    """Return the finding about the version of Python."""
    version, needed = platform.python_version(), _python_versions()
    figures = {"python": version, "executable": sys.executable}
    if version in SpecifierSet(needed, prereleases=True):
        return Finding("Python", OK, f"{version} ({sys.executable})", "", figures)
    remedy = f"install the package into a virtual environment of Python {needed}"
    return Finding("Python", PROBLEM, f"{version}, but {needed} is needed", remedy, figures)


def _python_versions() -> str:
    try:
        return importlib.metadata.metadata(_NAME)["Requires-Python"]  # of pyproject.toml
    except importlib.metadata.PackageNotFoundError:  # a source tree, not installed
        return ""


def packages() -> Iterator[Finding]:
    """Yield the findings about versions, needs and pins."""
    installed = _installed()
    versions = {name: installed.get(name, "not installed") for name in _SHOWN}
    versions |= {name: installed[name] for name in _ACCELERATORS if name in installed}
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    missing = [name for name in _SHOWN if name not in installed]
    if missing:
        yield Finding("packages", PROBLEM, shown, f"{', '.join(missing)} missing: {_INSTALL}",
                      versions)  # fmt: skip
    else:
        yield Finding("packages", OK, shown, "", versions)
    yield _needs(installed)
    yield _pins(installed)


def _installed() -> dict[str, str]:
    """Return the versions of all installed packages by normalized name."""
    return {
        _normalized(found.metadata["Name"]): found.version
        for found in importlib.metadata.distributions()
        if found.metadata["Name"]
    }


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _needs(installed: Mapping[str, str]) -> Finding:
    """Return the finding about the versions that the package and its JAX need."""
    unmet = []
    for package in (_NAME, "jax"):
        try:
            lines = importlib.metadata.requires(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in lines:
            unmet += _unmet(Requirement(line), installed, package)
    if not unmet:
        return Finding("requirements", OK, "all needed packages are installed")
    named = ", ".join(unmet[:_FEW]) + (" …" if len(unmet) > _FEW else "")
    return Finding("requirements", PROBLEM, named, _INSTALL, {"unmet": unmet})


def _unmet(needed: Requirement, installed: Mapping[str, str], by: str) -> list[str]:
    """Return what is wrong with a package that another one needs; empty if nothing is."""
    if needed.marker and not needed.marker.evaluate({"extra": ""}):
        return []
    version = installed.get(_normalized(needed.name))
    if version is None:
        return [f"{needed.name} is not installed ({by} needs it)"]
    if needed.specifier.contains(version, prereleases=True):
        return []
    return [f"{needed.name} {version} ({by} needs {needed.specifier})"]


def _pins(installed: Mapping[str, str]) -> Finding:
    """Return the finding about versions that differ from those that were tested."""
    if not _PINS.exists():
        return Finding("pins", SKIPPED, "not compared: only a clone has requirements.txt")
    pins = dict(_read_pins(_PINS))
    extras = [_PINS.with_name(f"{_PINS.stem}-{extra}.txt") for extra in _EXTRAS]
    of_extras = [pin for path in extras if path.exists() for pin in _read_pins(path)]
    other = {
        name: (installed[name], pin)
        for name, pin in (pins | dict(of_extras)).items()
        if name in installed and installed[name] != pin
    }
    absent = [name for name in pins if name not in installed]
    pairs = {name: {"installed": has, "pin": pin} for name, (has, pin) in other.items()}
    figures = {"other": pairs, "not_installed": absent}
    if not other and not absent:
        return Finding("pins", OK, f"all {len(pins)} versions are those of requirements.txt", "",
                       figures)  # fmt: skip
    named = [f"{name} {has} (pinned {pin})" for name, (has, pin) in other.items()]
    named += [f"{name} is not installed" for name in absent]
    text = ", ".join(named[:_FEW]) + (f" and {len(named) - _FEW} more" if len(named) > _FEW else "")
    remedy = f"{_INSTALL}; other versions may work, but these were tested together"
    return Finding("pins", WARNING, text, remedy, figures)


def _read_pins(path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and version of the pins in a file that are for this Python and platform."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            pin = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:  # an empty line or an option
            continue
        specifiers = [*pin.specifier]
        applies = pin.marker is None or pin.marker.evaluate()
        if applies and len(specifiers) == 1 and specifiers[0].operator == "==":
            yield _normalized(pin.name), specifiers[0].version
