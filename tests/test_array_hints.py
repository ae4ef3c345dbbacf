import ast
import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Bool, Float32, Int32, TypeCheckError, jaxtyped

from teacherlm_jax.data.packing import PackedRow
from teacherlm_jax.training.loss import cross_entropy
from tests import array_hints

ONES = np.ones(3, np.float32)
# Array types without dims, as modules name them.
BARE = {("jax", "Array"), ("np", "ndarray")}


def bare_arrays(source):
    """Names of functions and dataclass fields whose annotations have arrays without dims."""
    tree = ast.parse(source)
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
        for alias in node.names
    }

    def is_bare(node):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") in {*ours, "Callable"}:
            return False  # Float[Array, "B T"]
        if isinstance(node, ast.Name):
            return node.id == "Array" and "Array" in ours
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return (node.value.id, node.attr) in BARE
        return any(is_bare(child) for child in ast.iter_child_nodes(node))

    for node in ast.walk(tree):
        hints = []
        if isinstance(node, ast.FunctionDef):
            arguments = (part for part in ast.walk(node.args) if isinstance(part, ast.arg))
            hints = [node.returns, *(argument.annotation for argument in arguments)]
        elif isinstance(node, ast.ClassDef):
            hints = [part.annotation for part in node.body if isinstance(part, ast.AnnAssign)]
        if any(hint is not None and is_bare(hint) for hint in hints):
            yield f"{node.lineno}: {node.name}"


@pytest.mark.parametrize("module", array_hints.modules())
def test_every_module_that_annotates_arrays_is_checked(module):
    loader = importlib.util.find_spec(module).loader
    assert type(loader).__module__ == "jaxtyping._import_hook"


def test_arrays_in_signatures_have_dims():
    found = [
        f"{path.relative_to(array_hints.PACKAGE)}:{place}"
        for path in sorted(array_hints.PACKAGE.rglob("*.py"))
        for place in bare_arrays(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "def f(x: np.ndarray): ...",
        "def f(*, x: jax.Array | None = None): ...",
        "def f() -> Iterator[np.ndarray]: ...",
        "from jaxtyping import Array\nclass C:\n    x: dict[str, Array]",
    ],
)
def test_an_array_without_dims_is_found(source):
    assert list(bare_arrays(source))


def test_an_array_of_another_shape_is_refused():
    states, table = jnp.ones((2, 3, 4)), jnp.ones((8, 4))
    targets, in_loss = jnp.ones((2, 3), jnp.int32), jnp.ones((2, 3), bool)
    cross_entropy(states, table, targets, in_loss, 6)
    with pytest.raises(TypeCheckError, match="targets"):
        cross_entropy(states, table, targets[:, 1:], in_loss, 6)


def test_a_field_of_another_dtype_is_refused():
    row = PackedRow(*(np.zeros(4, dtype) for dtype in (np.int32, np.int32, np.int32, bool)))
    with pytest.raises(TypeCheckError, match="loss_mask"):
        dataclasses.replace(row, loss_mask=row.tokens)


@pytest.mark.parametrize(
    ("hint", "fits", "differs"),
    [
        (Int32[np.ndarray, " T"] | None, None, ONES),
        (Sequence[int] | Bool[np.ndarray, " T"], [1, 2], ONES),
        (tuple[Float32[np.ndarray, " T"], int], (ONES, 1), (ONES.astype(int), 1)),
        (list[Float32[np.ndarray, " T"]], [ONES, ONES], [ONES, ONES[1:]]),
        (Mapping[str, Float32[np.ndarray, "B T"]], {"a": ONES[None]}, {"a": ONES[None], "b": ONES}),
    ],
)
def test_arrays_within_other_annotations_are_checked(hint, fits, differs):
    @jaxtyped(typechecker=array_hints.checked)
    def same(value: hint) -> hint:
        return value

    same(fits)
    with pytest.raises(TypeCheckError, match="value"):
        same(differs)


@pytest.mark.parametrize("several", [([ONES, ONES[1:]], {}), ([], {"a": ONES, "b": ONES[1:]})])
def test_arrays_of_any_number_of_arguments_are_checked(several):
    @jaxtyped(typechecker=array_hints.checked)
    def take(*rows: Float32[np.ndarray, " T"], **more: Float32[np.ndarray, " T"]) -> None: ...

    take(ONES, ONES, a=ONES)
    with pytest.raises(TypeCheckError):
        take(*several[0], **several[1])


def test_modules_import_names_from_jaxtyping_so_that_they_are_checked():
    paths = sorted(array_hints.PACKAGE.rglob("*.py"))
    assert [path for path in paths if "import jaxtyping" in path.read_text("utf-8")] == []


def test_other_annotations_are_left_to_the_type_checker():
    @jaxtyped(typechecker=array_hints.checked)
    def rows(number: int) -> str:
        return number

    assert rows("three") == "three"
