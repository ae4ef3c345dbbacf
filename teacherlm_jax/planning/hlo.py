"""Optimised HLO as text, read into computations and their instructions."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

_BYTES = {"pred": 1, "bf16": 2, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"([a-z]+\d*)[a-z0-9]*\[([\d,<=]*)\](?:\{([^}]*)\})?")
_HEAD = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[^\s(]+) \(.*\{$")
_NAME = re.compile(r"\s+(?P<root>ROOT )?%?(?P<name>[^\s=]+) = ")
_COMMENT = re.compile(r"/\*.*?\*/")
_CLOSING = {"(": ")", "{": "}", "[": "]"}


@dataclasses.dataclass(frozen=True)
class Array:
    """The shape of one array.

    Attributes:
        dims: sizes.
        bytes: of all elements, without padding.
        in_hbm: whether it lies in the chip's main memory; scalars, and what was put into one of its
            small fast memories, do not.
    """

    dims: tuple[int, ...]
    bytes: int
    in_hbm: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        name: without the leading percent sign.
        opcode: such as "fusion".
        arrays: what it gives; one, or a tuple's.
        operands: names of the instructions that it reads, in order.
        attributes: what follows the operands, as it stands.
        constant: of a scalar constant, its value as it stands; else empty.
        parameter: of a parameter, which one it is.
        is_root: whether it is what its computation gives.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    attributes: str
    constant: str = ""
    parameter: int = -1
    is_root: bool = False

    def attribute(self, key: str) -> str:
        """The value of `key=…`, brackets around it included; empty where it is missing."""
        found = re.search(rf"(?:^|[\s,]){key}=", self.attributes)
        if found is None:
            return ""
        rest = self.attributes[found.end() :]
        return rest[: _end(rest)]

    def numbers(self, key: str) -> tuple[int, ...]:
        """The value of `key={1,2}`."""
        return tuple(map(int, re.findall(r"-?\d+", self.attribute(key))))

    def called(self, key: str) -> str:
        """The computation that `key=%name` names; empty where it is missing."""
        return self.attribute(key).removeprefix("%")

    @property
    def bytes(self) -> int:
        """Of all that it gives."""
        return sum(array.bytes for array in self.arrays)


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions in the order in which they stand, by name."""

    name: str
    instructions: Mapping[str, Instruction]

    @property
    def root(self) -> Instruction:
        """What it gives."""
        (root,) = (each for each in self.instructions.values() if each.is_root)
        return root

    def users(self, name: str) -> Iterator[Instruction]:
        """The instructions that read what `name` gives."""
        return (each for each in self.instructions.values() if name in each.operands)


@dataclasses.dataclass(frozen=True)
class Module:
    """A program: its computations by name, and the one that it begins with."""

    computations: Mapping[str, Computation]
    entry: str


def parse(text: str) -> Module:
    """Reads what `jax.stages.Compiled.as_text` gives. Raises ValueError where it has no entry."""
    computations: dict[str, Computation] = {}
    instructions: dict[str, Instruction] = {}
    entry = ""
    for line in text.splitlines():
        if line and not line[0].isspace():
            if head := _HEAD.match(line):
                instructions = {}
                computations[head["name"]] = Computation(head["name"], instructions)
                entry = head["name"] if head["entry"] else entry
        elif named := _NAME.match(line):
            read = _instruction(named["name"], line[named.end() :], bool(named["root"]))
            instructions[read.name] = read
    if not entry:
        raise ValueError("no HLO: it has no ENTRY computation")
    return Module(computations, entry)


def _instruction(name: str, text: str, is_root: bool) -> Instruction:
    text = _COMMENT.sub("", text)
    end = _end(text)
    arrays = tuple(_array(*found.groups()) for found in _ARRAY.finditer(text[:end]))
    opcode, _, rest = text[end:].strip().partition("(")
    inside = rest[: _closing(rest, "(")]
    attributes = rest[len(inside) + 1 :].removeprefix(",").strip()
    return Instruction(
        name=name,
        opcode=opcode,
        arrays=arrays,
        operands=tuple(re.findall(r"%([^\s,()]+)", inside)),
        attributes=attributes,
        constant=inside if opcode == "constant" else "",
        parameter=int(inside) if opcode == "parameter" else -1,
        is_root=is_root,
    )


def _array(kind: str, dims: str, layout: str | None) -> Array:
    sizes = tuple(int(size.removeprefix("<=")) for size in dims.split(",") if size)
    bits = re.search(r"\d+", kind)
    width = _BYTES[kind] if kind in _BYTES else int(bits[0]) / 8 if bits else 0
    space = re.search(r"S\((\d+)\)", layout or "")
    in_hbm = bool(sizes) and (space is None or space[1] == "0")
    return Array(sizes, math.ceil(math.prod(sizes) * width), in_hbm)


def _end(text: str) -> int:
    """Where a value ends that begins `text`: behind its brackets, or at a space or comma."""
    place = 0
    while place < len(text) and text[place] not in " ,":
        if text[place] in _CLOSING:
            place += _closing(text[place + 1 :], text[place]) + 1
        place += 1
    return place


def _closing(text: str, opening: str) -> int:
    """Where in `text` the bracket is closed that was opened before it."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == opening) - (character == _CLOSING[opening])
        if not depth:
            return place
    raise ValueError(f"no HLO: a bracket is not closed: {text[:80]}")
