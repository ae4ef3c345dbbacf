"""Checks of the shapes and dtypes in array annotations, for every module that has some.

The other annotations are left to mypy, which reads them without running the code: tests pass simple
stand-ins for many objects.
"""

import functools
import inspect
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import jax
import numpy as np
from jaxtyping import AbstractArray, install_import_hook

PACKAGE = Path(__file__).parents[1] / "teacherlm_jax"


def modules() -> list[str]:
    """Return the modules of the package that annotate arrays, which are those with jaxtyping."""
    return [
        ".".join(("teacherlm_jax", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "from jaxtyping import" in path.read_text(encoding="utf-8")
    ]


def install() -> None:
    """Check the calls of every function and dataclass in `modules`, if imported after this."""
    install_import_hook(modules(), f"{__name__}.{checked.__name__}")


def checked(function):
    """Return the function with its array annotations checked, and the others not."""
    signature = inspect.signature(function)
    hints = {"return": signature.return_annotation}
    for name, parameter in signature.parameters.items():
        several = {
            inspect.Parameter.VAR_POSITIONAL: lambda hint: tuple[hint, ...],
            inspect.Parameter.VAR_KEYWORD: lambda hint: dict[str, hint],
        }
        hints[name] = several.get(parameter.kind, lambda hint: hint)(parameter.annotation)
    hints = {name: hint for name, hint in hints.items() if _has_array(hint)}
    if not hints:
        return function

    @functools.wraps(function)
    def check(*args, **kwargs):
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            _refuse_another(name, value, hints)
        result = function(*args, **kwargs)
        _refuse_another("return", result, hints)
        return result

    return check


def _refuse_another(name: str, value: Any, hints: Mapping[str, Any]) -> None:
    if name in hints and not _fits(value, hints[name]):
        raise TypeError(f"{name}: expected {hints[name]}")


def _fits(value: Any, hint: Any) -> bool:
    """Return False if arrays in `value` differ from the annotation `hint`."""
    parts = get_args(hint)
    if _is_array(hint):
        return isinstance(value, hint)
    if not _has_array(hint):
        return True
    if get_origin(hint) in (Union, types.UnionType):
        if isinstance(value, (jax.Array, np.ndarray)):
            parts = tuple(part for part in parts if _has_array(part))
        return any(_fits(value, part) for part in parts)
    if isinstance(value, Mapping):
        return all(_fits(part, parts[1]) for part in value.values())
    if get_origin(hint) is tuple and isinstance(value, tuple) and Ellipsis not in parts:
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if isinstance(value, (tuple, list)):
        return all(_fits(part, parts[0]) for part in value)
    return True  # an iterator; its items cannot be checked, since jaxtyping drops what is returned


def _is_array(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def _has_array(hint: Any) -> bool:
    return _is_array(hint) or any(_has_array(part) for part in get_args(hint))
