"""Config files: Python modules with a function `get_config`, whose errors are told by line."""

import contextlib
import importlib.util
import os
import traceback
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.errors import UserError


def made(
    module: types.ModuleType, specification: str, variant: str, classes: Sequence[type]
) -> Any:
    """What the file's `get_config` gives for a variant: an instance of one of `classes`.

    `specification` is what the command line says, FILE or FILE:VARIANT. Raises UserError.
    """
    path = specification.partition(":")[0]
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: has no function get_config(variant)")
    with blaming(path):
        config = module.get_config(variant)
    if not isinstance(config, tuple(classes)):
        wanted = " or ".join(each.__name__ for each in classes)
        raise UserError(
            f"{specification}: get_config gives {type(config).__name__}, "
            f"but this verb takes {wanted}; name another variant or verb"
        )
    return config


def load(path: Path) -> types.ModuleType:
    """The module that a config file is; UserError naming its line where it cannot be loaded."""
    if not path.is_file():
        raise UserError(f"{path}: no such config file")
    name = f"teacherlm_config_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UserError(f"{path}: not a Python file; a config's name ends in .py")
    module = importlib.util.module_from_spec(specification)
    with blaming(str(path)):
        specification.loader.exec_module(module)
    return module


@contextlib.contextmanager
def blaming(path: str) -> Iterator[None]:
    """Turns whatever a user's config file raises into one line that names the file's own line."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except SyntaxError as error:
        raise UserError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)
        full = os.path.abspath(path)
        lines = [frame.lineno for frame in trace if os.path.abspath(frame.filename) == full]
        where = f"{path}:{lines[-1]}" if lines else path
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
