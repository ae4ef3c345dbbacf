"""The rules between rooms, read off the imports of every file."""

import ast
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
    if here != "__main__":
        assert "cli" not in rooms, "nothing imports the command"


def test_every_room_of_the_package_was_read():
    rooms = {room(path) for path in FILES}
    assert {"models", "data", "tasks", "training", "generation", "evaluation"} <= rooms
