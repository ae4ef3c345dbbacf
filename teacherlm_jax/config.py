"""What every verb can be told: one dataclass a verb, made of smaller ones that the verbs share.

Config files return these (see `configs/`); the command line overrides single fields. All of it is
plain values, so that a resolved config can be written to JSON and compared.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterator

from teacherlm_jax.fields import at_least, choice, number, required

# Names that a config may give. What they stand for is written where it is done, in rooms that know
# this file and that it must not know; tests hold the two sides together.
FORMS = ("text", "C", "M", "F", "CM", "CMF", "FCM", "shuffle")  # of texts: data.prompts
GATES = ("finished", "not_empty", "no_other_trigger", "no_repetition", "synthetic")
FORMATS = ("sample", "cot", "creak", "ecqa", "strategyqa", "mmlu")
_NAME = re.compile(r"\w[\w.-]*")  # what can name a file or a folder


@dataclasses.dataclass
class ModelConfig:
    """Shape and numerics of a model."""

    family: str = choice("bloom")
    layers: int = at_least(1, 2)
    width: int = at_least(1, 64)
    heads: int = at_least(1, 4)
    vocab_size: int = at_least(0, 0)  # 0: as many rows as the vocabulary has
    layer_norm_epsilon: float = number(1e-5, limits="(0, inf)")
    initializer_range: float = number(0.02, limits="(0, inf)")
    dtype: str = choice("bfloat16", "float32")  # of the computation
    param_dtype: str = choice("float32", "bfloat16")
    remat: str = choice("none", "dots", "full")  # what the backward pass computes again
    attention: str = choice("xla")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.width % self.heads:
            yield "width", f"{self.width} is not divisible by heads={self.heads}"


@dataclasses.dataclass
class OptimizerConfig:
    """AdamW with global-norm clipping; the rate warms up linearly, then follows `schedule`."""

    learning_rate: float = number(1e-4, limits="(0, inf)")
    warmup_steps: int = at_least(0, 0)
    schedule: str = choice("constant", "linear", "cosine")
    final_fraction: float = number(0.0, limits="[0, 1]")  # of the peak, at the end of a decay
    b1: float = number(0.9, limits="[0, 1)")
    b2: float = number(0.95, limits="[0, 1)")
    eps: float = number(1e-8, limits="(0, inf)")
    weight_decay: float = at_least(0, 0.0)
    clip_norm: float = number(1.0, limits="(0, inf)")


@dataclasses.dataclass
class MeshConfig:
    """Devices along each mesh axis; one axis may be -1 and takes what the others leave."""

    data: int = at_least(-1, -1)
    fsdp: int = at_least(-1, 1)
    tensor: int = at_least(-1, 1)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        sizes = dataclasses.asdict(self)
        for axis, size in sizes.items():
            if size == 0:
                yield axis, "0; give a positive number, or -1 for what the other axes leave"
        if list(sizes.values()).count(-1) > 1:
            yield "data", "only one axis can be -1 and take what the others leave"


@dataclasses.dataclass
class CheckpointConfig:
    """When a run saves itself. It always does at the end and on SIGTERM."""

    every: int = at_least(0, 0)  # steps; 0: only at the end
    keep: int = at_least(1, 2)  # newest checkpoints kept


@dataclasses.dataclass
class TrainConfig:
    """One training run: a stage of a teacher, or a student."""

    output: str = required()  # run folder
    data: str = required()  # folder of one prepared mixture
    init_from: str = ""  # run folder whose newest checkpoint gives the parameters; empty: random
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    verify_data: bool = True  # read every shard once and compare its digest before training
    batch_size: int = at_least(1, 8)  # packed rows a step, over all devices
    steps: int = at_least(1, 100)
    seed: int = number(0, limits="[0, 2147483647]")
    log_every: int = at_least(1, 10)  # steps between progress lines
    loss_block: int = at_least(1, 1024)  # tokens whose logits exist at the same time

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.optimizer.warmup_steps >= self.steps:
            yield (
                "optimizer.warmup_steps",
                f"{self.optimizer.warmup_steps} leaves nothing of steps={self.steps}",
            )


@dataclasses.dataclass
class SourceConfig:
    """Files of one data set and how their rows are to be read."""

    name: str = required()
    path: str = required()  # file or glob, taken under the config's root
    format: str = choice(*FORMATS)
    subject: str = ""  # for rows that carry none
    limit: int = at_least(0, 0)  # rows used at most; 0: all


@dataclasses.dataclass
class MixtureConfig:
    """A prepared training set: which sources in which text forms, and what bears loss."""

    name: str = required()  # of its folder below the output
    sources: tuple[str, ...] = ()  # names of sources; empty: all of them
    forms: tuple[str, ...] = ("text",)  # see data.prompts.FORMS
    author: str = "human"  # whose explanations
    loss: str = choice("text", "answer", "answer_and_explanations")
    subject_prefix: bool = False
    checked_only: bool = False  # leave out explanations that failed a gate

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if not _NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} cannot name a folder; use letters, digits, _, - and ."
        if not self.forms:
            yield "forms", f"empty; name some of {', '.join(FORMS)}"
        for form in self.forms:
            if self.forms.count(form) > 1:
                yield "forms", f"{form!r} stands twice; each form makes one text of a sample"
            if form not in FORMS:
                yield "forms", f"{form!r} is none of {', '.join(FORMS)}"


@dataclasses.dataclass
class VocabularyConfig:
    """The vocabulary's folder; with a size, it is trained on the sources when it is not there."""

    path: str = required()
    size: int = at_least(0, 0)


@dataclasses.dataclass
class PrepareConfig:
    """Raw files to packed rows on disk, for several mixtures over the same sources."""

    output: str = required()
    root: str = ""  # folder that the sources' paths are taken under
    sources: tuple[SourceConfig, ...] = ()
    mixtures: tuple[MixtureConfig, ...] = ()
    vocabulary: VocabularyConfig = dataclasses.field(default_factory=VocabularyConfig)
    length: int = at_least(2, 2048)  # tokens of a packed row
    max_tokens: int = at_least(0, 0)  # longer texts are dropped and counted; 0: the row's length
    rows_per_shard: int = at_least(1, 4096)
    seed: int = number(0, limits="[0, 2147483647]")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.max_tokens > self.length:
            yield "max_tokens", f"{self.max_tokens} is more than a row holds (length={self.length})"
        if not self.sources:
            yield "sources", "empty; name at least one SourceConfig"
        if not self.mixtures:
            yield "mixtures", "empty; name at least one MixtureConfig"
        for kind, things in (("sources", self.sources), ("mixtures", self.mixtures)):
            names = [thing.name for thing in things]
            for twice in sorted({name for name in names if names.count(name) > 1}):
                yield kind, f"the name {twice!r} stands twice"
        known = {source.name for source in self.sources}
        for index, mixture in enumerate(self.mixtures):
            for name in sorted(set(mixture.sources) - known):
                yield f"mixtures[{index}].sources", f"no source is named {name!r}"


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

    cot: str = ""
    fundamental: str = ""
    mistake: str = ""


@dataclasses.dataclass
class AnnotateConfig:
    """Teachers explain every row of a data set."""

    output: str = required()
    root: str = ""
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
    path: str = required()
    format: str = choice(*FORMATS)
    style: str = choice("clean", "authors")  # theirs doubles the `Q: ` on ECQA
    subject_prefix: bool = False
    limit: int = at_least(0, 0)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for names that cannot be those of files."""
        if not _NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} cannot name a file; use letters, digits, _, - and ."


@dataclasses.dataclass
class EvaluateConfig:
    """Rank classification of one model on some benchmarks."""

    output: str = required()
    root: str = ""
    model: str = required()  # run folder
    benchmarks: tuple[BenchmarkConfig, ...] = ()
    max_length: int = at_least(
        2, 2048
    )  # tokens; longer prompts lose their left end and are counted
    batch_tokens: int = at_least(1, 16384)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if not self.benchmarks:
            yield "benchmarks", "empty; name at least one BenchmarkConfig"
        names = [benchmark.name for benchmark in self.benchmarks]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield "benchmarks", f"the name {twice!r} stands twice"


@dataclasses.dataclass
class ReportConfig:
    """Tables and figures of all the runs below a folder."""

    output: str = required()
    root: str = required()
    title: str = "TeacherLM"


@dataclasses.dataclass
class StepConfig:
    """One step of a pipeline: a verb with one variant of the pipeline's own config file."""

    title: str = required()
    verb: str = required()
    variant: str = required()
    output: str = required()  # the step's run folder


@dataclasses.dataclass
class QuickstartConfig:
    """Generated samples, then a pipeline of verbs over them."""

    output: str = required()
    file: str = required()  # config file whose variants the steps name
    steps: tuple[StepConfig, ...] = ()
    report: str = required()  # run folder of the step that reports
    train_samples: int = at_least(1, 1000)
    unlabelled_samples: int = at_least(1, 100)
    test_samples: int = at_least(1, 100)
    seed: int = number(0, limits="[0, 2147483647]")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        for step in self.steps:
            if not step.output.startswith(f"{self.output}/"):
                mend = f"--config={self.file}:root={self.output}"
                yield "output", f"the steps write to {step.output}; move all of them with {mend}"
                return
