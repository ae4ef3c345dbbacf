"""The rules between rooms, read off the imports of every file."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import teacherlm_jax

PACKAGE = Path(teacherlm_jax.__file__).parent
TENSORFLOW = {"tensorflow", "tensorflow_text", "tensorflow_datasets", "seqio", "apache_beam"}
ORACLES = {"torch", "transformers"}
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_keep_the_rules_between_rooms(path):
    tops = {name.split(".")[0] for name in imports(path)}
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("teacherlm_jax.")}
    here = room(path)
    assert not tops & ORACLES, "torch and transformers belong to tests and benchmarks"
    if here != "tasks":
        assert not tops & TENSORFLOW, "only tasks imports TensorFlow and SeqIO"
        assert "tasks" not in rooms, "importing tasks imports TensorFlow"
    if here in ("data", "tasks"):
        assert "models" not in rooms, "data and tasks never see models"
    if here == "models":
        assert rooms <= {"models", "config", "errors", "fields", "sharding"}, (
            "models do no input or output"
        )
    if here == "config":
        assert rooms <= {"config", "errors", "fields"}, "every room may know it, it knows none"
    if here == "data":
        assert rooms <= {"data", "config", "errors", "fields", "files"}, "data is plain"
    if here != "__main__":
        assert "cli" not in rooms, "nothing imports the command"


def test_every_room_of_the_package_was_read():
    rooms = {room(path) for path in FILES}
    assert {"models", "data", "tasks", "training", "generation", "evaluation"} <= rooms


def test_training_generation_and_evaluation_bring_neither_tensorflow_nor_torch():
    code = (
        "import sys\n"
        "import teacherlm_jax.training.loop, teacherlm_jax.annotation.job\n"
        "import teacherlm_jax.evaluation.harness, teacherlm_jax.report.build\n"
        "print(sorted({'tensorflow', 'seqio', 'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
