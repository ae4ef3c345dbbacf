"""The pickle in a PyTorch `.bin` file, interpreted without running it.

A pickle is a program. It is interpreted by a machine that knows only the few opcodes that build a
dictionary of tensors: Python's own unpickler is not used, nothing is imported, and names stand for
values that cannot be called. Opcodes are those of `pickletools` in the standard library.
"""

import enum
import pickletools
from typing import Any, NamedTuple

from teacherlm_jax.hf.lazy_tensor import MOST_AXES, MOST_BYTES

_STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    **{
        f"{kind}Storage": kind.lower()
        for kind in ("Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
    },
}


class PickledStorage(NamedTuple):
    """Bytes that tensors may share: their dtype and the name of the zip entry."""

    dtype: str
    key: str


class PickledTensor(NamedTuple):
    """A tensor's place in its storage; offset and strides count elements, not bytes."""

    storage: PickledStorage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class RefusedPickle(Exception):
    """A pickle asked for a name that it may not use; the message is that name."""


class _StorageType(NamedTuple):
    dtype: str


class _Call(enum.Enum):
    """The functions that a pickle may call."""

    DICTIONARY = "collections OrderedDict"
    TENSOR = "torch._utils _rebuild_tensor_v2"
    PARAMETER = "torch._utils _rebuild_parameter"


_NAMES: dict[str, _Call | _StorageType] = {
    **{call.value: call for call in _Call},
    **{f"torch {name}": _StorageType(dtype) for name, dtype in _STORAGES.items()},
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MARK = object()


def read(content: bytes) -> dict[str, PickledTensor]:
    """Return the tensors by name.

    Raises RefusedPickle for a name that tensors do not need, and ValueError unless
    `content` is a pickle (protocol 2, as PyTorch writes it) of a dictionary of tensors.
    """
    machine = _PickleMachine()
    for opcode, argument, _ in pickletools.genops(content):
        machine.step(opcode.name, argument)
    found = machine.result()
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {_kind(found)}, expected a dictionary of tensors")
    for name, tensor in found.items():
        if not isinstance(tensor, PickledTensor):
            raise ValueError(f"{name!r} is a {_kind(tensor)}, expected a tensor")
    return found


def _kind(value: Any) -> str:
    return type(value).__name__.lstrip("_").removeprefix("Pickled")


class _PickleMachine:
    """The stack and the memo of a pickle's program."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        """Return the value that is left at the end."""
        value = self._pop()
        if self._stack:
            raise ValueError("more than one value is left at its end")
        return value

    def step(self, name: str, argument: Any) -> None:
        """Run one opcode by its name in `pickletools`; ValueError if it is unknown or misused."""
        match name:
            case "PROTO" | "STOP":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                self._stack.append(_CONSTANTS[name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                self._stack.append(argument)
            case "MARK":
                self._stack.append(_MARK)
            case "TUPLE":
                self._stack.append(tuple(self._marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                parts = [self._pop() for _ in range(int(name[-1]))]
                self._stack.append(tuple(reversed(parts)))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._top()
            case "BINGET" | "LONG_BINGET":
                if argument not in self._memo:
                    raise ValueError(f"the memo has no entry {argument}")
                self._stack.append(self._memo[argument])
            case "GLOBAL":
                if argument not in _NAMES:
                    raise RefusedPickle(".".join(argument.split(" ")))
                self._stack.append(_NAMES[argument])
            case _:
                self._step_of_objects(name)

    def _step_of_objects(self, name: str) -> None:
        match name:
            case "EMPTY_DICT":
                self._stack.append({})
            case "SETITEM":
                value, key = self._pop(), self._pop()
                self._set([key, value])
            case "SETITEMS":
                self._set(self._marked())
            case "BUILD":  # the attributes that a state dict carries along; none is kept
                self._pop()
                self._dictionary()
            case "BINPERSID":
                self._stack.append(_storage(self._pop()))
            case "REDUCE":
                arguments, call = self._pop(), self._pop()
                self._stack.append(_called(call, arguments))
            case _:
                raise ValueError(f"it uses the opcode {name}, which tensors do not need")

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("an opcode has no operand")
        return self._stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _marked(self) -> list[Any]:
        """Pop the values since the last mark."""
        values = []
        while self._stack and self._stack[-1] is not _MARK:
            values.append(self._stack.pop())
        if not self._stack:
            raise ValueError("a mark is missing")
        self._stack.pop()
        return values[::-1]

    def _dictionary(self) -> dict[str, Any]:
        if not isinstance(self._top(), dict):
            raise ValueError(f"it sets an item of a {_kind(self._top())}")
        return self._top()

    def _set(self, items: list[Any]) -> None:
        keys, values = items[::2], items[1::2]
        if len(keys) != len(values) or not all(isinstance(key, str) for key in keys):
            raise ValueError("a key of a dictionary is not a name")
        self._dictionary().update(zip(keys, values, strict=True))


def _storage(value: Any) -> PickledStorage:
    match value:
        case ("storage", _StorageType(dtype), str(key), _, _):
            return PickledStorage(dtype, key)
    raise ValueError("a reference to something other than a tensor's bytes")


def _called(call: Any, arguments: Any) -> Any:
    match call, arguments:
        case (_Call.DICTIONARY, ()):
            return {}
        case (_Call.PARAMETER, (PickledTensor() as tensor, *_)):
            return tensor
        case (
            _Call.TENSOR,
            (PickledStorage() as storage, offset, tuple(shape), tuple(strides), *_),
        ) if len(shape) == len(strides) <= MOST_AXES and all(
            type(n) is int and 0 <= n < MOST_BYTES for n in (offset, *shape, *strides)
        ):
            return PickledTensor(storage, offset, shape, strides)
    raise ValueError("a tensor without storage, shape and strides")
