"""The parts of each verb's result that a report reads, and how a result differs from them."""

from collections.abc import Mapping
from typing import Any

_EACH = "*"  # in a shape: every value of an object, which must have at least one
_IF_PRESENT = "?"  # in a shape: keys of the same object that come with the first of them
_OR_NULL = "null"  # in a shape: its only key, with the shape of a value that may also be null
_NUMBER = (int, float)
_NUMBER_OR_NULL = (*_NUMBER, type(None))
_INTERVAL = [_NUMBER, _NUMBER]

_CONTAMINATION = {
    "flagged": int,
    "not_compared": int,
    "flagged_accuracy": _NUMBER_OR_NULL,  # null if no question was flagged
    "clean": {_OR_NULL: {"accuracy": _NUMBER, "interval": _INTERVAL}},  # null if all were
}
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
    _IF_PRESENT: {"contamination": _CONTAMINATION},
}
_KIND = {
    "teacher": str,
    "count": int,
    "gates": {},
    "passed_all_gates": (int, type(None)),  # null if no gate ran
    "mean_tokens": _NUMBER,
}
_ANNOTATION_COSTS = {
    **dict.fromkeys(("texts", "prompt_tokens", "new_tokens", "chips"), int),
    **dict.fromkeys(("flops", "money"), _NUMBER_OR_NULL),  # of models here, and on servers
    **dict.fromkeys(("seconds", "chip_seconds"), _NUMBER),
    "devices": list,
}
_EVALUATION_COSTS = {
    **dict.fromkeys(("questions", "tokens", "scored_tokens", "chips"), int),
    **dict.fromkeys(("flops", "seconds"), _NUMBER),
    "devices": list,
}

# By verb. Of other verbs, a report shows only that the run finished.
RESULTS: Mapping[str, Any] = {
    "train": {
        "step": int,
        "steps": int,
        "tokens": int,
        "loss": _NUMBER_OR_NULL,  # null if no token of the run had loss
        "accuracy": _NUMBER_OR_NULL,
        "tokens_per_second": _NUMBER,
        _IF_PRESENT: {"best_step": int, "best_metric": _NUMBER, "final_metric": _NUMBER},
    },
    "annotate": {
        "rows": int,
        "refused": int,
        "kinds": {_EACH: _KIND},
        _IF_PRESENT: {"costs": _ANNOTATION_COSTS},
    },
    "evaluate": {
        "model": str,
        "step": int,
        "benchmarks": {_EACH: _BENCHMARK},
        _IF_PRESENT: {"costs": _EVALUATION_COSTS},
    },
    "prepare": {_IF_PRESENT: {"costs": {"texts": int, "tokens": int, "seconds": _NUMBER}}},
}

VERSIONS: Mapping[str, Any] = {"commit": str, "packages": {}}


def difference(value: Any, shape: Any, name: str = "") -> str:
    """Return how a JSON value differs from a shape, in words; empty if it does not.

    A shape is a type (or several), a list of shapes, or an object of shapes by key; the value may
    have more keys. `name` is the path of the value, empty for the whole.
    """
    if isinstance(shape, Mapping) and _OR_NULL in shape:
        return "" if value is None else difference(value, shape[_OR_NULL], name)
    if isinstance(shape, list):
        if not isinstance(value, list) or len(value) != len(shape):
            return f"{name or 'it'} is not a list of {len(shape)}"
        parts = [(f"{name}[{index}]", index) for index in range(len(shape))]
    elif isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{name or 'it'} is not an object"
        shape = _shape_of(value, shape)
        parts = [(f"{name}.{key}" if name else key, key) for key in shape]
        if missing := [part for part, key in parts if key not in value]:
            return f"it lacks {', '.join(missing)}"
    else:
        return "" if isinstance(value, shape) else f"{name} is {value!r}"
    differences = (difference(value[key], shape[key], part) for part, key in parts)
    return next((text for text in differences if text), "")


def _shape_of(value: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shape by key that an object must have, given the keys it has."""
    if _EACH in shape:
        return dict.fromkeys(value or [_EACH], shape[_EACH])
    required = {key: part for key, part in shape.items() if key != _IF_PRESENT}
    optional = shape.get(_IF_PRESENT, {})
    return required | (optional if next(iter(optional), "") in value else {})
