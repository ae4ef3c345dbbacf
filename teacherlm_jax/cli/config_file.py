"""Config files: Python modules with a function `get_config`, whose errors name their line."""

import contextlib
import importlib.util
import os
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.runs.imports import without_collection


def load(path: Path) -> types.ModuleType:
    """Return the module of a config file; UserError with its line if it cannot be loaded."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such config file; name an existing one, such as configs/quickstart.py"
        )
    name = f"teacherlm_config_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UserError(f"{path}: not a Python file; the name of a config file ends in .py")
    module = importlib.util.module_from_spec(specification)
    with errors_in(str(path)), without_collection():
        specification.loader.exec_module(module)
    return module


def get_config(
    module: types.ModuleType, specification: str, variant: str, classes: Sequence[type]
) -> Any:
    """Return the config of a variant, an instance of one of `classes`.

    `specification` is FILE or FILE:VARIANT, as on the command line. Raises UserError.
    """
    path = specification.partition(":")[0]
    if not hasattr(module, "get_config"):
        raise UserError(
            f"{path}: has no function get_config(variant); add one that returns a config"
        )
    with errors_in(path, variant):
        config = module.get_config(variant)
    if not isinstance(config, tuple(classes)):
        expected = " or ".join(kind.__name__ for kind in classes)
        raise UserError(
            f"{specification}: get_config returned {type(config).__name__}, but this command takes "
            f"{expected}; choose another variant or command"
        )
    return config


@contextlib.contextmanager
def errors_in(path: str, variant: str | None = None) -> Iterator[None]:
    """Turn any error of a user's config file into a UserError that names the file and its line.

    `variant` is the argument of `get_config`, if that is called: a KeyError of it has a message of
    its own.
    """
    try:
        yield
    except ExplainedError as error:
        raise UserError(f"{path}: {error}") from None
    except SyntaxError as error:
        raise UserError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        full = os.path.abspath(path)
        lines = [frame.lineno for frame in frames if os.path.abspath(frame.filename) == full]
        place = f"{path}:{lines[-1]}" if lines else path
        if isinstance(error, KeyError) and error.args == (variant,):
            raise UserError(
                f"{place}: get_config has no variant {variant!r}; write one of its variants "
                f"after the colon, as in --config={path}:VARIANT"
            ) from error
        raise UserError(f"{place}: {type(error).__name__}: {error}") from error
