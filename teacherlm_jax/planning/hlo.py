"""Parser for the text of optimized HLO: computations and their instructions."""

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
        dims: sizes of the dimensions.
        bytes: size of all elements, without padding.
        in_hbm: true for arrays in HBM; false for scalars and arrays in a small on-chip memory.
    """

    dims: tuple[int, ...]
    bytes: int
    in_hbm: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One HLO instruction.

    Attributes:
        name: without the leading percent sign.
        opcode: for example "fusion".
        arrays: its result; several arrays if the result is a tuple.
        operands: names of its operands, in order.
        attributes: the text after the operands.
        constant: text of the value, if this is a scalar constant; else empty.
        parameter: number of the parameter, if this is one; else -1.
        is_root: true if it is the result of its computation.
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
        """Return the value of `key=…` including its brackets; empty if it is missing."""
        match = re.search(rf"(?:^|[\s,]){key}=", self.attributes)
        if match is None:
            return ""
        rest = self.attributes[match.end() :]
        return rest[: _end(rest)]

    def numbers(self, key: str) -> tuple[int, ...]:
        """Return the numbers of `key={1,2}`."""
        return tuple(map(int, re.findall(r"-?\d+", self.attribute(key))))

    def called(self, key: str) -> str:
        """Return the name of the computation in `key=%name`; empty if it is missing."""
        return self.attribute(key).removeprefix("%")

    @property
    def bytes(self) -> int:
        """Return the size of the result in bytes."""
        return sum(array.bytes for array in self.arrays)


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions by name, in order of the text."""

    name: str
    instructions: Mapping[str, Instruction]

    @property
    def root(self) -> Instruction:
        """Return the instruction whose result is that of the computation."""
        (root,) = (instruction for instruction in self.instructions.values() if instruction.is_root)
        return root

    def users(self, name: str) -> Iterator[Instruction]:
        """Return the instructions that read the result of `name`."""
        return (
            instruction
            for instruction in self.instructions.values()
            if name in instruction.operands
        )


@dataclasses.dataclass(frozen=True)
class Module:
    """A program: its computations by name, and the name of the entry computation."""

    computations: Mapping[str, Computation]
    entry: str


def parse(text: str) -> Module:
    """Parse the text of `jax.stages.Compiled.as_text`; ValueError if it has no entry."""
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
        raise ValueError("invalid HLO: the text has no ENTRY computation")
    return Module(computations, entry)


def _instruction(name: str, text: str, is_root: bool) -> Instruction:
    text = _COMMENT.sub("", text)
    end = _end(text)
    arrays = tuple(_array(*match.groups()) for match in _ARRAY.finditer(text[:end]))
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
    """Return the end of the value that `text` starts with: a space or comma outside brackets."""
    place = 0
    while place < len(text) and text[place] not in " ,":
        if text[place] in _CLOSING:
            place += _closing(text[place + 1 :], text[place]) + 1
        place += 1
    return place


def _closing(text: str, opening: str) -> int:
    """Return the position in `text` that closes a bracket opened before `text`."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == opening) - (character == _CLOSING[opening])
        if not depth:
            return place
    raise ValueError(f"invalid HLO: unclosed bracket before {text[:80]!r}")
