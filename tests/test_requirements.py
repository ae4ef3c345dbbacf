"""The pinned requirements satisfy every extra on every Python, and each other."""

import ast
import functools
import importlib.metadata
import re
import sys

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.pins import EXTRAS, PROJECT, ROOT, environment, files_of, holds, lines_of, pins_of

PYTHONS = ("3.11.0", "3.11.15", "3.12.0", "3.12.13", "3.13.0", "3.13.12")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
MACHINES = ("x86_64", "aarch64")


def wanted(extra):
    """Requirements of the base and an extra in pyproject.toml."""
    todo, seen = [extra] if extra else [], []
    found = [Requirement(text) for text in PROJECT["dependencies"]]
    while todo:
        seen.append(todo.pop())
        for requirement in map(Requirement, EXTRAS[seen[-1]]):
            if requirement.name == PROJECT["name"]:
                todo += requirement.extras - set(seen)
            else:
                found.append(requirement)
    return found


@functools.cache
def needs_of(name, version):
    """Requirements of a package, read off the one installed here; None if another version is."""
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return (
        [Requirement(text) for text in installed.requires or ()]
        if installed.version == version
        else None
    )


def test_advice_of_the_package_installs_a_file_of_the_repository():
    """The package is not in a registry, so `pip install teacherlm_jax[extra]` finds nothing."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "teacherlm_jax").rglob("*.py")]
    assert not [text for text in texts if re.search(r"teacherlm[_-]jax\[", text)]
    files = {name for text in texts for name in re.findall(r"requirements(?:-\w+)?\.txt", text)}
    assert "requirements-track.txt" in files
    assert not [name for name in files if not (ROOT / name).exists()]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_the_pins_of_an_extra_satisfy_it_and_each_other(extra, python, machine):
    values = environment(python, machine)
    assert python in SpecifierSet(PROJECT["requires-python"])
    pins = pins_of(extra, values)
    todo = [(requirement, "pyproject.toml", ()) for requirement in wanted(extra)]
    seen = set()
    while todo:
        requirement, asker, extras = todo.pop()
        if not holds(requirement, values, extras):
            continue
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{files_of(extra)[-1]}: no pin of {requirement}, for {asker}"
        assert requirement.specifier.contains(pins[name], prereleases=True), (
            f"{files_of(extra)[-1]}: {name}=={pins[name]}, but {asker} needs {requirement}"
        )
        key = (name, frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            for need in needs_of(name, pins[name]) or ():
                todo.append((need, f"{name} {pins[name]}", tuple(requirement.extras)))
    reached = {name for name, _ in seen}
    of_others = {name for name in pins if needs_of(name, pins[name]) is None}
    if machine == "x86_64" and python in PYTHONS[1::2] and values["python_version"] == HERE:
        assert len(reached) > 80
        assert of_others <= {
            name for name in pins if name.startswith(("jax-cuda", "nvidia", "libtpu"))
        }


def test_every_extra_has_its_file_and_every_file_its_extra():
    files = {path.name for path in ROOT.glob("requirements*.txt")}
    named = {file for extra in ("", *EXTRAS) for file in files_of(extra)}
    assert files == named | {"requirements-mutants.txt", "requirements-torch.txt"}


@pytest.mark.parametrize("python", PYTHONS)
def test_all_files_pin_the_same_version_of_a_package(python):
    values = environment(python)
    known = {}
    for extra in ("dev", "", *EXTRAS):
        for name, version in pins_of(extra, values).items():
            assert known.setdefault(name, version) == version, f"{files_of(extra)[-1]}: {name}"
    for line in (*lines_of("requirements-torch.txt"), *lines_of("requirements-mutants.txt")):
        if holds(line, values) and line.name in known:
            assert line.specifier.contains(known[line.name]), line


def test_neither_the_base_nor_an_extra_installs_torch():
    for extra in ("", *EXTRAS):
        for file in files_of(extra):
            assert not {line.name for line in lines_of(file)} & {"torch", "torchvision"}, file


def test_the_packages_for_a_device_have_the_version_of_jax():
    for python in PYTHONS:
        pins = pins_of("cuda", environment(python))
        versions = {
            pins[name] for name in ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda13-pjrt")
        }
        assert len(versions) == 1, (python, versions)
    assert pins_of("tpu", environment("3.11.15"))["libtpu"].startswith("0.0.42")  # of jax 0.10.2


# Imports of packages that the base does not install: only where they are needed.
BESIDE_THE_BASE = {
    "beam": {"apache_beam"},
    "endpoint": {"httpx2", "openai"},
    "gcs": {"gcsfs", "google", "google_crc32c"},
    "int8": {"qwix"},
    "lm_eval": {"lm_eval", "tqdm"},
    "tpu": {"libtpu"},
    "track": {"trackio", "wandb"},
}


def imports_of(path):
    """Top-level names of the packages that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_the_program_imports_only_what_it_declares():
    top_levels = importlib.metadata.packages_distributions()
    base = {canonicalize_name(requirement.name) for requirement in wanted("")}
    for extra, names in BESIDE_THE_BASE.items():
        declared = {canonicalize_name(requirement.name) for requirement in wanted(extra)} - base
        for name in names & top_levels.keys():
            assert declared & {canonicalize_name(owner) for owner in top_levels[name]}, name
    known = sys.stdlib_module_names | {"teacherlm_jax"} | set().union(*BESIDE_THE_BASE.values())
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "teacherlm_jax").rglob("*.py")
        for name in set(imports_of(path)) - known
        if not base & {canonicalize_name(owner) for owner in top_levels.get(name, ())}
    }
    assert undeclared == set()


def test_every_file_of_pins_that_a_message_a_page_or_a_launcher_names_exists():
    folders = (
        "teacherlm_jax/**/*.py",
        "docs/**/*.md",
        "launch/*",
        "*.md",
        "Dockerfile",
        "Makefile",
    )
    files = [path for folder in folders for path in ROOT.glob(folder) if path.is_file()]
    texts = [path.read_text(encoding="utf-8") for path in files]
    named = {name for text in texts for name in re.findall(r"requirements[\w-]*\.txt", text)}
    assert {"requirements-gcs.txt", "requirements-cuda.txt", "requirements-int8.txt"} <= named
    assert {name for name in named if not (ROOT / name).exists()} == {"requirements-NAME.txt"}


def test_the_page_on_installation_has_every_extra_and_the_versions_of_jax():
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(requirements-\w+\.txt)` \| `(\w+)` \|", page, re.MULTILINE))
    assert rows == {f"requirements-{extra}.txt": extra for extra in EXTRAS}
    for python in PYTHONS:
        version = pins_of("", environment(python))["jax"]
        assert re.search(rf"JAX {version} on Python [^:;]*{python.rpartition('.')[0]}", page)
    (cuda,) = map(Requirement, EXTRAS["cuda"])
    (name,) = cuda.extras
    assert f"CUDA {name.removeprefix('cuda')}" in page
