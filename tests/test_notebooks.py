"""The notebooks: they follow from their texts, and run from the first to the last cell."""

import json
import re
import types

import jupytext
import nbclient
import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from safetensors.numpy import save_file

from notebooks import build
from teacherlm_jax import colab
from teacherlm_jax.config import ModelConfig
from teacherlm_jax.data import synthetic
from teacherlm_jax.hf import config_json, tensor_names
from teacherlm_jax.storage import files
from tests import bloom_tokenizer, test_docs

# Settings for a run in seconds: a few steps, and models that learn nothing.
TINY = {
    "quickstart": {
        "TRAIN_SAMPLES": 120, "UNLABELLED_SAMPLES": 9, "TEST_SAMPLES": 18,
        "ANSWER_STEPS": 2, "EXPLANATION_STEPS": 2, "STUDENT_STEPS": 2,
        "LAYERS": 1, "WIDTH": 16, "HEADS": 2, "TEMPERATURE": 1.0, "MAX_NEW_TOKENS": 8,
    },
    "annotate_your_data": {"TEACHER": "model", "MAX_NEW_TOKENS": 4, "ROWS": 3, "SLOTS": 9},
    "students_on_one_gpu": {
        "MODEL": "model", "GENERATED_SAMPLES": 36, "GENERATED_TEST": 9,
        "STEPS": 2, "BATCH": 2, "LENGTH": 256, "RANK": 2,
    },
}  # fmt: skip

notebooks = pytest.mark.parametrize("name", build.NAMES)


def read(name):
    return nbformat.read(build.FOLDER / f"{name}.ipynb", as_version=4)


def headings(name):
    texts = (cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    return re.findall(r"^(#+) (.+)$", "\n".join(texts), re.MULTILINE)


@notebooks
def test_a_notebook_is_the_one_that_its_text_gives(name):
    """After a change of the text: make notebooks."""
    written = (build.FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert written == build.notebook(build.FOLDER / f"{name}.py")


@notebooks
def test_a_notebook_gives_its_text(name):
    """Jupyter with Jupytext writes the text when somebody saves the notebook."""
    text = jupytext.writes(read(name), fmt="py:percent")
    cells = jupytext.read(build.FOLDER / f"{name}.py", fmt="py:percent").cells
    assert [cell.source for cell in jupytext.reads(text, fmt="py:percent").cells] == [
        cell.source for cell in cells
    ]


@notebooks
def test_a_notebook_has_no_outputs(name):
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


@notebooks
def test_a_notebook_has_one_title_and_sections_below_it(name):
    levels = [len(marks) for marks, _ in headings(name)]
    assert levels[0] == 1 and set(levels[1:]) == {2}


def test_every_notebook_has_a_text_and_every_text_a_notebook():
    files_of = {suffix: {path.stem for path in build.FOLDER.glob(f"*{suffix}")}
                for suffix in (".ipynb", ".py")}  # fmt: skip
    assert files_of[".ipynb"] == set(build.NAMES) == files_of[".py"] - {"build"}


@notebooks
def test_links_of_a_notebook_lead_to_pages_and_the_badge_to_itself(name):
    page = build.FOLDER / f"{name}.py"
    for target, anchor in test_docs.links_of(page):
        assert target.exists(), target
        if anchor:
            assert anchor in test_docs.anchors_of(target.read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    badge = re.search(r"colab\.research\.google\.com/github/(.+)/blob/main/(\S+)\)\n", text)
    package = re.search(r"git\+https://github\.com/(\S+)", text)
    assert badge.group(2) == f"notebooks/{name}.ipynb"
    assert badge.group(1) == package.group(1)


def install_cell(name):
    (cell,) = [cell for cell in read(name).cells if "%pip install" in cell.source]
    return cell.source


def test_all_notebooks_install_in_the_same_way():
    assert len({install_cell(name) for name in build.NAMES}) == 1


def test_a_runtime_without_the_package_installs_it_and_then_what_it_needs(monkeypatch):
    magics = []
    shell = types.SimpleNamespace(run_line_magic=lambda name, line: magics.append((name, line)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code = TransformerManager().transform_cell(install_cell("quickstart"))
    names = {"get_ipython": lambda: shell}
    exec(compile(code, "install", "exec"), names)
    (_, package), (_, needed) = magics
    assert {name for name, _ in magics} == {"pip"}
    assert re.fullmatch(r"install --quiet --no-deps git\+https://\S+", package)
    assert needed == "install --quiet {requirements}"
    assert names["requirements"] == colab.requirements()


def with_settings(notebook, settings):
    """Put a cell after that of the settings, as Papermill does for cells tagged `parameters`."""
    (index,) = [
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    names = set(re.findall(r"^([A-Z_, ]+) =", notebook.cells[index].source, re.MULTILINE))
    assert settings.keys() <= {name for several in names for name in several.split(", ")}
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    notebook.cells.insert(index + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    return notebook


def write_model(folder):
    """Write a small model with random weights in the Hugging Face format."""
    samples = list(synthetic.generate(60, seed=0))
    texts = [text for sample in samples for text in (sample.question, *sample.options)]
    bloom_tokenizer.save_bloom(folder, texts, 400)
    shape = ModelConfig("bloom", 1, 16, 2, vocab_size=400)
    files.write_json(folder / "config.json", config_json.described(shape))
    draw = np.random.default_rng(0).normal
    weights = {
        slot.name: np.ones(slot.stored_shape, np.float32)
        if re.search(r"(norm|ln_f)\.weight$", slot.name)
        else draw(0, 0.1, slot.stored_shape).astype(np.float32)
        for slot in tensor_names.slots(shape)
    }
    save_file(weights, folder / "model.safetensors")


# The state that a kernel for all notebooks could pass on: folder, names, and Altair's renderer.
FRESH = """
%reset -f
import os, sys
os.chdir({folder!r})
if "altair" in sys.modules:
    sys.modules["altair"].renderers.enable("default")
%reset -f
"""


@pytest.fixture(scope="module")
def kernel(one_device, tmp_path_factory):
    """Client of a kernel for all notebooks: importing JAX and TensorFlow takes most of a run."""
    folder = tmp_path_factory.mktemp("kernel")
    environment = {
        "PYTHONPATH": str(test_docs.ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONWARNINGS": "ignore",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # the same programs in many cells
    }
    client = nbclient.NotebookClient(
        nbformat.v4.new_notebook(), timeout=120, shutdown_kernel="immediate"
    )
    with client.setup_kernel(cwd=str(folder), env={**one_device, **environment}):
        yield client


@pytest.fixture
def execute(kernel, tmp_path):
    """Run a notebook in an empty folder, without names of other notebooks; return both."""

    def run(name):
        write_model(tmp_path / "model")
        notebook = with_settings(read(name), TINY[name])
        fresh = FRESH.format(folder=str(tmp_path))
        notebook.cells.insert(0, nbformat.v4.new_code_cell(fresh))
        kernel.nb = notebook
        for index, cell in enumerate(notebook.cells):
            kernel.execute_cell(cell, index)
        return notebook, tmp_path

    return run


def outputs(notebook):
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


def printed(notebook):
    return "".join(out.text for out in outputs(notebook) if out.output_type == "stream")


def pictures(notebook):
    return sum("image/svg+xml" in out.get("data", {}) for out in outputs(notebook))


def test_the_quickstart_compares_two_students(execute):
    notebook, folder = execute("quickstart")
    assert pictures(notebook) == 6  # gates, accuracy, and the loss of four training sets
    students = {f"student_{form}_*" for form in ("text", "CMF")}
    pair = re.search(r"^  (student_\S+) − (student_\S+) .*2, 2", printed(notebook), re.MULTILINE)
    assert set(pair.groups()) == students  # the more accurate one is the first
    assert (folder / "runs/notebook/report/report.html").exists()
    assert "restart the kernel" not in printed(notebook), "the package was there"


def test_the_data_of_a_csv_file_are_explained_and_shown(execute):
    notebook, folder = execute("annotate_your_data")
    assert pictures(notebook) == 2
    (samples,) = [out.data["text/markdown"] for out in outputs(notebook)
                  if "text/markdown" in out.get("data", {})]  # fmt: skip
    assert samples.count("*chain of thought*") == 3
    assert "**Question:** Which of these animals is a mammal? (A) trout (B) whale" in samples
    assert list((folder / "runs/annotate_mine_dataset").glob("**/*.parquet"))


def test_students_are_trained_from_a_hugging_face_model_and_exported(execute):
    notebook, folder = execute("students_on_one_gpu")
    assert pictures(notebook) == 3
    assert "parameters trained" in printed(notebook)
    merged = folder / "runs/students/student_CMF_merged"
    assert json.loads((merged / "config.json").read_text())["model_type"] == "bloom"
