"""The packages that a notebook installs in a runtime with its own JAX."""

import re
import shlex
import subprocess
import sys
import textwrap
import types

import pytest

from notebooks import build
from teacherlm_jax import colab
from tests import doc_blocks
from tests.test_docs import ROOT

NEEDED = ["altair>=6", "jax>=0.10.2", 'jaxtyping; python_version >= "3.11"']
EXTRAS = [
    'openai>=3.57; extra == "endpoint"',
    "jax[tpu]>=0.10.2; os_name == 'x' and extra == 'tpu'",
]


def requirements(runtime, monkeypatch):
    """Return the requirements in a runtime, given by versions of its packages."""
    packages = [
        types.SimpleNamespace(name=name, version=version)
        for name, version in (*runtime.items(), (None, None), ("numpy", "1.21.5"))
    ]  # at the end, what an interrupted pip has left, and a package that an earlier folder hides
    monkeypatch.setattr("importlib.metadata.distributions", lambda: packages)
    monkeypatch.setattr("importlib.metadata.requires", lambda name: NEEDED + EXTRAS)
    return shlex.split(colab.requirements())


@pytest.mark.parametrize(
    ("runtime", "jax", "kept"),
    [
        ({"jax": "0.7.2", "jaxlib": "0.7.2"}, "jax[cpu]>=0.10.2", []),
        ({"jax": "0.7.2", "jax_cuda12_plugin": "0.7.2"}, "jax[cuda12]>=0.10.2", []),
        ({"jax": "0.7.2", "libtpu": "0.0.21.1"}, "jax[tpu]>=0.10.2", []),
        ({"jax": "0.10.2", "jaxlib": "0.10.2"}, "", ["jax==0.10.2", "jaxlib==0.10.2"]),
        ({"jax": "0.12.0.1", "jax-cuda13-plugin": "0.12.0", "jax-cuda13-pjrt": "0.12.0"}, "",
         ["jax==0.12.0.1", "jax-cuda13-pjrt==0.12.0", "jax-cuda13-plugin==0.12.0"]),
        ({"jax": "0.11.0", "libtpu": "0.0.45"}, "", ["jax==0.11.0", "libtpu==0.0.45"]),
        ({}, "jax[cpu]>=0.10.2", []),
    ],
)  # fmt: skip
def test_jax_is_kept_or_upgraded_with_its_plugin(runtime, jax, kept, monkeypatch):
    others = {"numpy": "2.1.3", "jaxtyping": "0.3", "flax": "0.11.2"}
    words = requirements(runtime | others, monkeypatch)
    assert words[: len(NEEDED)] == NEEDED
    assert set(words[len(NEEDED) :]) == {*([jax] if jax else []), *kept, "numpy==2.1.3"}


def test_the_requirements_are_those_of_the_package_without_its_extras():
    words = shlex.split(colab.requirements())
    written = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core = re.search(r"^dependencies = \[(.*?)^\]", written, re.MULTILINE | re.DOTALL)[1]
    names = [re.match(r"[\w-]+", text)[0] for text in re.findall(r'^  "(.*?)"', core, re.MULTILINE)]
    assert [re.match(r"[\w-]+", word)[0] for word in words[: len(names)]] == names
    assert not [word for word in words if "extra" in word]


def test_the_module_can_be_imported_before_any_package_is_installed():
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import teacherlm_jax.colab"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_pages_install_in_a_notebook_with_the_steps_of_the_notebooks():
    """Plain pip upgrades JAX without its plugin, and the GPU or TPU of the runtime is lost."""
    magic = re.compile(r"^[%!] ?pip", re.MULTILINE)
    blocks = [block for name in doc_blocks.pages() for block in doc_blocks.blocks(name)]
    installing = [block for block in blocks if magic.search(block.text)]
    assert installing
    for name in build.NAMES:
        text = (build.FOLDER / f"{name}.py").read_text(encoding="utf-8")
        _, cell = text.split('if importlib.util.find_spec("teacherlm_jax") is None:\n')
        steps = textwrap.dedent(cell.partition("\n\n# %%")[0]).replace("# %pip", "%pip")
        for block in installing:
            assert block.text.strip() == steps.strip(), f"{block.place}: not as in {name}.py"
