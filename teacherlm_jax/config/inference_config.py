"""Settings of `annotate` and `evaluate`."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config import paper_models
from teacherlm_jax.config.benchmark_config import BenchmarkConfig
from teacherlm_jax.config.endpoint_config import (
    EndpointConfig,
    address_problem,
    is_endpoint,
    sampling_problems,
)
from teacherlm_jax.config.fields import (
    at_least,
    choice,
    group,
    location,
    locations,
    not_among,
    number,
    plain,
)
from teacherlm_jax.config.model_config import MeshConfig
from teacherlm_jax.config.names import (
    ATTENTION,
    DEFAULT_GATES,
    GATES,
    MODEL_GATE,
    MODEL_PATHS,
    TEXT_GATES,
)
from teacherlm_jax.config.prepare_config import SourceConfig
from teacherlm_jax.config.tracking_config import TrackingConfig, track_field, track_problems

_ATTENTION = (
    "attention implementation: 'xla' is the reference, 'blockwise' needs memory linear in the "
    "length, 'fused' runs on TPUs only; empty: the one of a model trained here, 'xla' for a "
    "Hugging Face model"
)
_SEED_LIMITS = "[0, 2147483647]"


@dataclasses.dataclass
class SamplingConfig:
    """Sampling of the next token."""

    temperature: float = at_least(
        0, 0.7, help="divides the logits; 0 always takes the most likely token"
    )
    top_k: int = at_least(
        0, 50, help="sample only from the k most likely tokens; 0: from all tokens"
    )
    top_p: float = number(
        0.95,
        limits="(0, 1]",
        help="sample only from the most likely tokens that together have this probability",
    )
    min_p: float = number(
        0.0,
        limits="[0, 1]",
        help="sample only from tokens whose probability is at least this fraction of the highest "
        "one; 0: from all tokens",
    )
    repetition_penalty: float = number(
        1.0,
        limits="(0, inf)",
        help="above 1, makes tokens of the prompt and of the text so far less likely: divides "
        "their logits if positive, multiplies them if negative; 1: off",
    )
    no_repeat_ngram: int = at_least(
        0,
        0,
        help="no sequence of this many tokens occurs twice in the prompt and the text; 0: off",
    )
    max_new_tokens: int = at_least(
        1,
        512,
        help="longest explanation, in tokens; longer ones are truncated and fail the gate "
        "`finished`",
    )
    min_new_tokens: int = at_least(
        0, 0, help="shortest explanation, in tokens: the token that ends it is not sampled before"
    )
    stop: tuple[str, ...] = plain(
        (), help="strings that end a text; it is truncated before the first of them"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.min_new_tokens > self.max_new_tokens:
            limit = f"max_new_tokens={self.max_new_tokens}"
            yield "min_new_tokens", f"{self.min_new_tokens} is more than {limit}; lower it"
        if "" in self.stop:
            yield "stop", "contains an empty string, which would end every text; remove it"


def authors_sampling() -> SamplingConfig:
    """Return the sampling of the TeacherLM authors' annotation script (arXiv 2310.19019)."""
    return SamplingConfig(temperature=1.0, top_k=50, top_p=1.0, max_new_tokens=2048)


@dataclasses.dataclass
class TeachersConfig:
    """The teacher of each kind of explanation; kinds without a teacher are not written."""

    cot: str = location(
        local=True,
        hub=True,
        web=True,
        help=f"teacher for chains of thought: {MODEL_PATHS}; or http://HOST:PORT/v1#MODEL, a model "
        "on an OpenAI-compatible server (see the keys of `endpoint`)",
    )
    fundamental: str = location(
        local=True, hub=True, web=True, help="teacher for fundamentals, named like teachers.cot"
    )
    mistake: str = location(
        local=True, hub=True, web=True, help="teacher for common mistakes, named like teachers.cot"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid addresses."""
        for field in dataclasses.fields(self):
            name = getattr(self, field.name)
            if is_endpoint(name) and (problem := address_problem(name)):
                yield field.name, problem


@dataclasses.dataclass
class AnnotateConfig:
    """Explanations by teachers for every row of a dataset."""

    output: str = location(required=True, help="run folder")
    root: str = location(help="folder that source.path is relative to")
    source: SourceConfig = group(SourceConfig, help="the dataset to explain")
    teachers: TeachersConfig = group(TeachersConfig)
    author: str = plain("teacher", help="label under which the explanations are stored in a sample")
    subject_prefix: bool = plain(
        False, help="begin prompts with the sentence that names the subject, if a row has one"
    )
    sampling: SamplingConfig = group(
        SamplingConfig, named={"default": SamplingConfig, "authors": authors_sampling}
    )
    gates: tuple[str, ...] = plain(
        DEFAULT_GATES,
        help="quality checks; each explanation is stored with their verdicts (see "
        f"docs/reference/sample-format.md); any of {', '.join(GATES)}",
    )
    attempts: int = at_least(
        1,
        1,
        help="maximum number of attempts for an explanation: one that fails a gate is generated "
        "again with other random numbers. The first attempt that passes is kept, or the last one; "
        "earlier ones go to rejected/. The gates answer_check and not_duplicate do not count",
    )
    seed: int = number(0, limits=_SEED_LIMITS, help="seed of the sampling")
    slots: int = at_least(
        1,
        64,
        help="explanations in flight at the same time (continuous batching), a multiple of "
        "mesh.data times mesh.fsdp; the KV cache grows with it, so lower it when memory runs out",
    )
    prompt_length: int = at_least(
        0,
        0,
        help="longest prompt, in tokens; rows with a longer one are skipped and listed in "
        "refused.jsonl; 0: no limit. Fewer slots are used for prompts that are much longer than "
        "the others",
    )
    rows_per_shard: int = at_least(
        1,
        256,
        help="rows per output file (shard); several processes share a job shard by shard",
    )
    dtype: str = choice(
        *("", "bfloat16", "float32"),
        help="dtype of the computation; empty: the one of a teacher trained here, bfloat16 for a "
        "Hugging Face model",
    )
    weights: str = choice(
        *("", "int8"),
        help="dtype in which the weights of teachers are stored: 'int8' takes a quarter of float32 "
        "and half of bfloat16, and changes the explanations slightly; the computation stays in "
        "`dtype`; needs the package qwix (requirements-int8.txt); empty: `dtype`",
    )
    attention: str = choice("", *ATTENTION, help=_ATTENTION)
    mesh: MeshConfig = group(MeshConfig)
    endpoint: EndpointConfig = group(EndpointConfig)
    runner: str = plain(
        "", short=True, help="Apache Beam runner, such as DirectRunner; empty: run without Beam"
    )
    beam_options: tuple[str, ...] = plain(
        (),
        help="options of the Beam runner, with commas between them, as in --direct_num_workers=2",
    )
    stands_for: str = plain(
        "",
        help="dataset of the paper that this one stands for in `report --paper`: "
        f"{', '.join(paper_models.DATASETS)}, or 'none'; empty: derived from source.format",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        yield from self._endpoint_problems()
        if self.beam_options and not self.runner:
            yield "beam_options", "need a Beam runner; set one, as in --runner=DirectRunner"
        if not any(dataclasses.astuple(self.teachers)):
            yield (
                "teachers",
                "all empty; name a run folder, as in --config.teachers.cot=runs/teacher",
            )
        if not self.author.strip():
            yield "author", "empty; name the author of the explanations, as in 'teacher'"
        if wrong := paper_models.problem(self.stands_for, paper_models.DATASETS):
            yield "stands_for", wrong
        for gate in self.gates:
            if gate not in GATES:
                yield "gates", not_among(gate, GATES)
        if self.attempts > 1 and not set(self.gates) & set(TEXT_GATES):
            why = "but no gate of config.gates judges a text by itself"
            yield "attempts", f"{self.attempts}, {why}; name one, or set it to 1"
        if self.attempts > 1 and self.sampling.temperature == 0:
            why = "but with config.sampling.temperature=0 all attempts are equal"
            yield "attempts", f"{self.attempts}, {why}; raise the temperature, or set it to 1"

    def _endpoint_problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for values that do not suit teachers on a server."""
        names = [name for name in dataclasses.astuple(self.teachers) if name]
        served = [is_endpoint(name) for name in names]
        if not any(served):
            if names and self.endpoint != EndpointConfig():
                yield "endpoint", "set, but no teacher is on a server; name one, or leave it out"
            return
        for key, problem in sampling_problems(self.sampling, self.endpoint.api):
            yield f"sampling.{key}", problem
        if MODEL_GATE in self.gates:
            why = "needs teachers whose models are loaded, but one is on a server"
            yield "gates", f"{MODEL_GATE!r} {why}; leave it out"
        if self.attempts > 1:
            yield "attempts", f"{self.attempts}, but a teacher is on a server; set it to 1"
        if all(served):
            for key in ("prompt_length", "dtype", "weights", "attention"):
                if value := getattr(self, key):
                    why = "set, but all teachers are on servers and no model is loaded"
                    yield key, f"{value!r} is {why}; leave it out"


@dataclasses.dataclass
class EvaluateConfig:
    """Rank classification of one model on benchmarks."""

    output: str = location(required=True, help="run folder")
    root: str = location(help="folder that the benchmarks' paths are relative to")
    model: str = location(
        required=True, local=True, hub=True, help=f"model to evaluate: {MODEL_PATHS}"
    )
    benchmarks: tuple[BenchmarkConfig, ...] = plain((), help="the datasets")
    train_manifest: tuple[str, ...] = locations(
        short=True,
        help="prepared mixtures that the model was trained on: their folders or manifest.json "
        "files, with commas between them; questions that occur in their texts are flagged "
        "(contamination), and the accuracy without them is reported, too",
    )
    max_length: int = at_least(
        2,
        2048,
        help="longest prompt with its option, in tokens; longer prompts are truncated on "
        "the left and counted",
    )
    batch_tokens: int = at_least(
        1, 16384, help="tokens per forward pass; lower it when memory runs out"
    )
    dtype: str = choice(
        *("float32", "bfloat16"),
        help="dtype of the computation; with bfloat16 scores depend on batch_tokens, and close "
        "predictions change",
    )
    attention: str = choice("", *ATTENTION, help=_ATTENTION)
    mesh: MeshConfig = group(MeshConfig)
    track: tuple[str, ...] = track_field()
    tracking: TrackingConfig = group(TrackingConfig)
    stands_for: str = plain(
        "", help=f"{paper_models.MODEL_HELP}empty: that of the model's training run"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if wrong := paper_models.problem(self.stands_for, paper_models.MODELS):
            yield "stands_for", wrong
        yield from track_problems(self.track)
        if not self.benchmarks:
            yield "benchmarks", "empty; name at least one BenchmarkConfig"
        names = [benchmark.name for benchmark in self.benchmarks]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield "benchmarks", f"two have the name {twice!r}; names must differ"
