"""The rules between rooms, read off the imports of every file."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import teacherlm_jax
from teacherlm_jax.errors import StoreError, UserError

PACKAGE = Path(teacherlm_jax.__file__).parent
TENSORFLOW = {"tensorflow", "tensorflow_text", "tensorflow_datasets", "seqio", "apache_beam"}
ORACLES = {"torch", "transformers", "peft"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path):
    """Full names of everything that the file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


# Every room imports only rooms that come before it, so imports run one way.
ROOMS = (
    *("colab", "errors", "wording", "config", "storage", "sharding", "host_memory", "capacity"),
    *("runs", "tracking", "tokenization", "data", "sources", "tasks", "models", "checkpoints"),
    *("hf", "generation", "evaluation", "annotation", "training", "planning", "report"),
    *("launching", "pipelines", "status", "doctor", "interactive_model", "api", "cli", "__main__"),
)
PLAIN = ("tokenization", "data", "sources", "tasks")  # they prepare data without a model


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path):
    names = set(imports(path))
    tops = {name.split(".")[0] for name in names}
    rooms = {name.split(".")[1] for name in names if name.startswith("teacherlm_jax.")}
    here = room(path)
    assert not tops & ORACLES, "only tests and benchmarks import torch and transformers"
    if here != "tasks":
        assert not tops & TENSORFLOW, "only tasks imports TensorFlow, SeqIO and Beam"
        assert "tasks" not in rooms, "importing tasks imports TensorFlow"
    if here in PLAIN:
        assert "models" not in rooms, "the rooms that prepare data never import models"
    if here == "models":
        assert rooms <= {"models", "config", "errors", "sharding"}, "models do no I/O"
    if here != "__init__":
        above = rooms - {"__version__", here} - set(ROOMS[: ROOMS.index(here)])
        assert not above, f"{here} may import only rooms that come before it in ROOMS"


def test_only_its_adapter_imports_lm_evaluation_harness():
    adapter = PACKAGE / "evaluation" / "lm_eval.py"
    assert "lm_eval.api.model" in set(imports(adapter))
    for path in FILES:
        names = set(imports(path))
        assert "teacherlm_jax.evaluation.lm_eval" not in names, f"{path} needs an extra"
        if path != adapter:
            assert not {name for name in names if name.split(".")[0] == "lm_eval"}, path


def test_file_names_are_unique_in_the_package():
    names = Counter(path.name for path in FILES if not path.name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_names_of_public_classes_are_unique_in_the_package():
    names = Counter(
        node.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


REFUSED_OPENINGS = ("How", "Those", "What", "When", "Where", "Whether", "Which", "Why")


def test_docstrings_begin_with_a_verb_or_a_noun_phrase():
    refused = [
        f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and (text := ast.get_docstring(node))
        and text.split()[0].strip(",:;") in REFUSED_OPENINGS
    ]
    assert not refused, "\n".join(refused)


# Messages whose remedy is in a part that another function writes, by file and first fixed words.
REMEDY_IN_A_PART = {
    ("shards.py", "the explanation of"),
    ("overrides.py", "unknown key"),
    ("sweep.py", "of points of the sweep failed"),
    ("variants.py", "--config: setting needs a value, as in"),
    ("recipes.py", "no such recipe Known"),
    ("config_json.py", "describes an invalid model"),
    ("tpu_pod.py", "--accelerator_type and --runtime_version are required, as in"),
    ("tpu_pod.py", "has uncommitted changes, but only commits are sent to the hosts"),
    ("sharding.py", "axis names for shape"),
    ("objects.py", "cannot be"),
    ("prepare.py", "of sources cannot be used, for example"),
    ("sentencepiece.py", "config.vocabulary.size= : SentencePiece cannot train"),
}


def message_of(node):
    """Return the fixed words of a message in the source, with a space for each value in it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(map(message_of, node.values)) if isinstance(node, ast.JoinedStr) else " "


def test_messages_for_users_name_what_was_expected_or_what_to_do():
    without = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError":
                message = " ".join(message_of(node.args[0]).split())
                words = [word for word in message.split() if word.strip(",.:").isalpha()]
                known = any(
                    path.name == file and message.lstrip(": ").startswith(start)
                    for file, start in REMEDY_IN_A_PART
                )
                if len(words) >= 2 and not known and not re.search(";|expected", message):
                    without.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {message}")
    assert not without, "\n".join(without)


def test_an_error_of_a_store_is_not_taken_for_one_of_the_input():
    """A file that cannot be read now is neither missing nor invalid: nobody may fall back."""
    assert not issubclass(StoreError, UserError)
    assert not issubclass(UserError, StoreError)


def only_for_storage(node):
    """Return the name of an operation that only `storage` may use, or "" for any other node."""
    if isinstance(node, ast.Attribute) and ast.unparse(node) in FOR_STORAGE:
        return ast.unparse(node)
    if not isinstance(node, ast.Call):
        return ""
    name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
    if isinstance(node.func, ast.Attribute) and (
        name == "rename" or (name == "replace" and len(node.args) == 1 and not node.keywords)
    ):
        return f"{name} of a path"
    values = [*node.args, *(key.value for key in node.keywords if key.arg == "mode")]
    modes = {str(value.value) for arg in values for value in ast.walk(arg)
             if isinstance(value, ast.Constant)}  # fmt: skip
    return "open for appending" if name == "open" and modes & APPENDING else ""


FOR_STORAGE = {"os.replace", "os.rename", "os.renames", "shutil.move"}
APPENDING = {"a", "ab", "at", "a+", "ab+", "a+b"}


@pytest.mark.parametrize(
    "source",
    [
        *("os.replace(a, b)", "os.rename(a, b)", "shutil.move(a, b)", "move = shutil.move"),
        *("p.rename(q)", "(p / 'a').rename(target=q)", "p.replace(q)", "Path(p).replace(q / 'a')"),
        *("open(p, 'a')", "p.open(mode='ab')", "p.open('w' if x else 'a')"),
    ],
)
def test_operations_for_storage_are_recognized(source):
    assert any(map(only_for_storage, ast.walk(ast.parse(source))))


@pytest.mark.parametrize(
    "source",
    ["p.open('rb')", "p.replace('a', 'b')", "dataclasses.replace(p, a=1)", "d.replace(a=1)"],
)
def test_other_operations_are_not_taken_for_those_of_storage(source):
    assert not any(map(only_for_storage, ast.walk(ast.parse(source))))


def test_only_storage_replaces_locks_and_appends_to_files():
    """A folder may be in a bucket, where none of these exist."""
    refused = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {name}"
        for path in FILES
        if room(path) != "storage"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (name := only_for_storage(node))
    ]
    refused += [
        f"{path.relative_to(PACKAGE)}: imports {name}"
        for path in FILES
        if room(path) != "storage"
        for name in {"fcntl", *FOR_STORAGE} & set(imports(path))
    ]
    assert not refused, "\n".join(refused)


def makes_path_of_epath(node):
    """Return whether a node calls `epath.Path`, or gives it to a function that may call it."""
    return isinstance(node, ast.Call) and any(
        ast.unparse(value) == "epath.Path" for value in (node.func, *node.args)
    )


def test_paths_are_made_with_the_clients_of_the_package():
    """A path of `etils.epath` has another client of gs://, with other errors and no patience."""
    assert any(map(makes_path_of_epath, ast.walk(ast.parse("a = epath.Path(b) / c"))))
    assert any(map(makes_path_of_epath, ast.walk(ast.parse("map(epath.Path, names)"))))
    refused = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: epath.Path instead of StoragePath"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if makes_path_of_epath(node)
    ]
    assert not refused, "\n".join(refused)


def test_the_folders_of_tests_mirror_the_rooms():
    tests = Path(__file__).parent
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    folders = {path.name for path in tests.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders <= rooms | {"configs", "golden"}, "tests mirror the package"


def test_the_tests_of_a_module_are_in_the_folder_of_the_module():
    tests = Path(__file__).parent
    folders = {path.stem: path.relative_to(PACKAGE).parent for path in FILES}
    elsewhere = [
        f"{path.relative_to(tests)}: {folder / name}.py is in another folder; move or rename it"
        for path in sorted(tests.rglob("test_*.py"))
        if (folder := folders.get(name := path.stem.removeprefix("test_"))) is not None
        and path.relative_to(tests).parent != folder
    ]
    assert not elsewhere, "\n".join(elsewhere)


def test_every_room_of_the_package_was_read():
    assert {room(path) for path in FILES} - {"__init__"} <= set(ROOMS)
    assert {"models", "data", "tasks", "training"} <= {room(path) for path in FILES}


def test_training_generation_and_evaluation_bring_neither_tensorflow_nor_torch_nor_an_extra():
    extras = {
        "apache_beam",
        "gcsfs",
        "google.auth",
        "lm_eval",
        "openai",
        "qwix",
        "trackio",
        "wandb",
    }
    absent = {"tensorflow", "seqio", "torch", "transformers"} | extras
    code = (
        "import sys\n"
        "import teacherlm_jax.training.loop, teacherlm_jax.annotation.job.job\n"
        "import teacherlm_jax.evaluation.evaluate, teacherlm_jax.report.build\n"
        f"print(sorted({absent} & sys.modules.keys()))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == "[]"
