"""What the page reads of each verb's result, and how a result of another shape is told."""

from collections.abc import Mapping
from typing import Any

_EACH = "*"  # in a shape: every value of an object that has at least one
_NUMBER = (int, float)
_NUMBER_OR_NULL = (*_NUMBER, type(None))
_INTERVAL = [_NUMBER, _NUMBER]

_BENCHMARK = {
    "rows": int,
    "accuracy": _NUMBER,
    "interval": _INTERVAL,
    "majority": _NUMBER,
    "macro_accuracy": _NUMBER,
    "macro_interval": _INTERVAL,
    "by_subject": {_EACH: {}},
    "refused": int,
    "truncated": int,
}
_KIND = {
    "teacher": str,
    "count": int,
    "gates": {},
    "passed_all_gates": (int, type(None)),  # null where no gate was asked
    "mean_tokens": _NUMBER,
}

# By verb; of a verb that is not named here, the page reads nothing but that it finished.
RESULTS: Mapping[str, Any] = {
    "train": {
        "steps": int,
        "tokens": int,
        "loss": _NUMBER_OR_NULL,  # null if no token of the run's steps bears loss
        "accuracy": _NUMBER_OR_NULL,
        "tokens_per_second": _NUMBER,
    },
    "annotate": {"rows": int, "refused": int, "kinds": {_EACH: _KIND}},
    "evaluate": {"model": str, "step": int, "benchmarks": {_EACH: _BENCHMARK}},
}

VERSIONS: Mapping[str, Any] = {"commit": str, "packages": {}}


def difference(value: Any, shape: Any, name: str = "") -> str:
    """How a JSON value differs from a shape, in words; empty when it does not.

    A shape is a type (or several), a list of shapes, or an object of shapes by key, of which the
    value may have more. `name` is what the value is called; empty for the whole.
    """
    if isinstance(shape, list):
        if not isinstance(value, list) or len(value) != len(shape):
            return f"{name or 'it'} is no list of {len(shape)}"
        parts = [(f"{name}[{index}]", index) for index in range(len(shape))]
    elif isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{name or 'it'} is no object"
        if _EACH in shape:
            shape = dict.fromkeys(value or [_EACH], shape[_EACH])
        parts = [(f"{name}.{key}" if name else key, key) for key in shape]
        if lacking := [part for part, key in parts if key not in value]:
            return f"it lacks {', '.join(lacking)}"
    else:
        return "" if isinstance(value, shape) else f"{name} is {value!r}"
    found = (difference(value[key], shape[key], part) for part, key in parts)
    return next((each for each in found if each), "")
