"""The wheel can be built, and works in an environment without the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words, **environment):
    completed = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "", **environment},
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Wheel built from the files that git tracks or would add."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = run("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\n")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` folder of a new environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps")
    run(*pip, wheel)
    return folder / "bin"


def test_the_wheel_contains_only_the_package_with_its_types_and_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert all(top == "teacherlm_jax" or top.endswith(".dist-info") for top in tops), tops
    assert "teacherlm_jax/py.typed" in names
    package = ROOT / "teacherlm_jax"
    kinds = (".py", ".css", ".html", ".js", ".json")
    expected = {
        path.relative_to(ROOT).as_posix() for path in package.rglob("*") if path.suffix in kinds
    }
    assert expected <= set(names)


def test_the_command_and_the_package_work_with_only_the_wheel_installed(installed, tmp_path):
    # The libraries come from this environment; the package itself must come from the wheel.
    libraries = sysconfig.get_paths()["purelib"]
    where = "import teacherlm_jax; print(teacherlm_jax.__file__)"
    actual = run(installed / "python", "-P", "-c", where, PYTHONPATH=libraries)
    assert actual.startswith(str(installed.parent)), actual
    shown = run(installed / "teacherlm", "--help", PYTHONPATH=libraries)
    assert "annotate" in shown
    code = "import teacherlm_jax.training.loop, teacherlm_jax.report.build, teacherlm_jax.tasks"
    run(installed / "python", "-P", "-c", code, PYTHONPATH=libraries)
