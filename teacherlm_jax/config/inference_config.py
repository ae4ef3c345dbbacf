"""What a trained model is asked to do: explain a data set, take benchmarks."""

import dataclasses
import difflib
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, location, number, required
from teacherlm_jax.config.model_config import MeshConfig
from teacherlm_jax.config.names import ATTENTION, GATES, NAME, PLAIN_FORMATS
from teacherlm_jax.config.prepare_config import SourceConfig


@dataclasses.dataclass
class SamplingConfig:
    """How the next token is drawn."""

    temperature: float = at_least(0, 1.0)  # 0: the likeliest token
    top_k: int = at_least(0, 50)  # 0: no limit
    top_p: float = number(1.0, limits="(0, 1]")  # 1: no limit
    max_new_tokens: int = at_least(1, 2048)


@dataclasses.dataclass
class TeachersConfig:
    """Run folder of the teacher that writes each kind; empty: that kind is not written."""

    cot: str = location(local=True)
    fundamental: str = location(local=True)
    mistake: str = location(local=True)


@dataclasses.dataclass
class AnnotateConfig:
    """Teachers explain every row of a data set."""

    output: str = location(required=True)
    root: str = location()
    source: SourceConfig = dataclasses.field(default_factory=SourceConfig)
    teachers: TeachersConfig = dataclasses.field(default_factory=TeachersConfig)
    author: str = "teacher"  # name under which the explanations are filed
    subject_prefix: bool = False
    sampling: SamplingConfig = dataclasses.field(default_factory=SamplingConfig)
    gates: tuple[str, ...] = ("finished", "not_empty")
    seed: int = number(0, limits="[0, 2147483647]")
    slots: int = at_least(1, 64)  # texts written side by side
    prompt_length: int = at_least(
        0, 0
    )  # tokens; longer prompts are refused; 0: the longest prompt's
    rows_per_shard: int = at_least(1, 256)
    dtype: str = choice("", "bfloat16", "float32")  # of the computation; empty: as trained
    attention: str = choice("", *ATTENTION)  # empty: as trained
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if not any(dataclasses.astuple(self.teachers)):
            yield (
                "teachers",
                "all empty; name a run folder, as in --config.teachers.cot=runs/teacher",
            )
        if not self.author.strip():
            yield "author", "empty; name whom the explanations are filed under, as in 'teacher'"
        for gate in self.gates:
            if gate not in GATES:
                near = difflib.get_close_matches(gate, GATES, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield "gates", f"{gate!r} is none of {', '.join(map(repr, GATES))}{hint}"


@dataclasses.dataclass
class BenchmarkConfig:
    """One set for rank classification."""

    name: str = required()
    path: str = location(required=True)
    format: str = choice(*PLAIN_FORMATS)
    style: str = choice("clean", "authors")  # theirs doubles the `Q: ` on ECQA
    subject_prefix: bool = False
    limit: int = at_least(0, 0)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for names that cannot be those of files."""
        if not NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} cannot name a file; use letters, digits, _, - and ."


@dataclasses.dataclass
class EvaluateConfig:
    """Rank classification of one model on some benchmarks."""

    output: str = location(required=True)
    root: str = location()
    model: str = location(required=True, local=True)  # run folder
    benchmarks: tuple[BenchmarkConfig, ...] = ()
    max_length: int = at_least(
        2, 2048
    )  # tokens; longer prompts lose their left end and are counted
    batch_tokens: int = at_least(1, 16384)
    attention: str = choice("", *ATTENTION)  # empty: as trained
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if not self.benchmarks:
            yield "benchmarks", "empty; name at least one BenchmarkConfig"
        names = [benchmark.name for benchmark in self.benchmarks]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield "benchmarks", f"the name {twice!r} stands twice"
