"""Parts of `benchmarks/gpu.py` about generation: decode, prefill, and copies of the KV cache."""

import functools
import importlib.util
import re
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from flax import nnx

from benchmarks import gpu_cases
from benchmarks.gpu_cases import Card, Case, Figures
from teacherlm_jax.config import ModelConfig, SamplingConfig
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.models import int8, registry
from teacherlm_jax.models.decoder import Decoder
from teacherlm_jax.training.flops import model_flops
from teacherlm_jax.training.state import shardings

MODELS = ("bloom-560m", "bloom-1b1", "bloom-7b1")
SLOTS = (64, 256, 8, 128, 32)  # the order in which they are measured
PROMPT, NEW = 128, 128  # tokens; together one window of the KV cache, so decode is compiled once
LONG_PROMPT, PREFILL_SLOTS = 512, 32
NO_END = -1  # no token has this id, so every text has its full length


def in_bfloat16(config: ModelConfig) -> Decoder:
    """Return the model with random weights, stored as a model that is not trained stores them."""
    mesh = gpu_cases.mesh()
    graph, abstract = registry.abstract(config, mesh)
    abstract = registry.for_inference(config, abstract)

    def make():
        model = registry.build(config, nnx.Rngs(params=jax.random.key(0)))
        parameters = nnx.to_pure_dict(nnx.state(model))
        return jax.tree.map(lambda array, like: array.astype(like.dtype), parameters, abstract)

    return nnx.merge(graph, jax.jit(make, out_shardings=shardings(abstract))())


def in_int8(config: ModelConfig) -> Decoder:
    """Return the same model with kernels and tables in int8."""
    graph, abstract = registry.abstract(config, gpu_cases.mesh(), weights=int8.NAME)
    parameters = nnx.to_pure_dict(nnx.state(in_bfloat16(config)))
    abstract = registry.for_inference(config, abstract)
    return nnx.merge(graph, int8.quantized(parameters, abstract))


# Ways to store the weights; all figures below follow the bytes that the parameters really have. A
# bare image has no qwix, which quantizes.
WEIGHTS: dict[str, Callable[[ModelConfig], Decoder]] = {
    "bfloat16": in_bfloat16,
    **({"int8": in_int8} if importlib.util.find_spec("qwix") else {}),
}


@functools.cache  # the models are kept until `forget_models`
def _model(name: str, weights: str) -> Decoder:
    return WEIGHTS[weights](_config(name))


def forget_models() -> None:
    """Free the memory of the models."""
    _model.cache_clear()


def _config(name: str) -> ModelConfig:
    return registry.shape(name, dtype="bfloat16")


def _models(tiny: bool) -> tuple[str, ...]:
    return ("bloom-tiny",) if tiny else MODELS


def decodes(card: Card, tiny: bool) -> Iterator[Case]:
    """Yield a case for each model and number of slots: decode as a share of its roofline."""
    for weights in WEIGHTS:
        # Time is short: int8 comes last, with the first number of slots only.
        several = SLOTS if weights == "bfloat16" else SLOTS[:1]
        for slots in (4,) if tiny else several:
            for name in _models(tiny):
                measure = functools.partial(_decode, name, weights, slots, card, tiny)
                yield Case(f"{name}, {weights}, {slots} slots", measure)


def _decode(name: str, weights: str, slots: int, card: Card, tiny: bool) -> Figures:
    """Return the speed of the engine while all slots decode.

    The time of texts of one token, which the prefill samples, is subtracted from that of texts of
    `NEW` tokens. The roofline is the time to read, at each step, all weights and the entries of the
    cache that hold tokens. The embedding is tied, so all weights are read.
    """
    config, prompt, new = _config(name), PROMPT, NEW
    if tiny:
        prompt, new = 16, 48
    engine, lines = _engine(_model(name, weights), slots, prompt, new)
    with jax.set_mesh(gpu_cases.mesh()):
        first = _fastest(engine, _requests(slots, prompt, config.vocab_size, most=1))
        whole = _fastest(engine, _requests(slots, prompt, config.vocab_size, most=new))
    seconds = max(1e-9, whole - first) / (new - 1)
    size = _weight_bytes(_model(name, weights)) + _cache_bytes(config, slots, prompt + new / 2)
    return {
        "model": name,
        "weights": weights,
        "slots": slots,
        "step_seconds": seconds,
        "tokens_per_second": slots / seconds,
        "tokens_per_second_with_prefill": slots * new / whole,
        "prefill_tokens_per_second": slots * prompt / first,
        "roofline_bytes": size,
        "roofline_share": card.memory_share(size, seconds),
        "compile_seconds": _compile_seconds(lines),
    }


def prefills(card: Card, tiny: bool) -> Iterator[Case]:
    """Yield a case for each model: the speed of reading longer prompts."""
    slots, prompt = (4, 32) if tiny else (PREFILL_SLOTS, LONG_PROMPT)
    for name in _models(tiny):
        for weights in WEIGHTS:
            measure = functools.partial(_prefill, name, weights, slots, prompt, card)
            yield Case(f"{name}, {weights}, {slots} prompts of {prompt} tokens", measure)


def _prefill(name: str, weights: str, slots: int, prompt: int, card: Card) -> Figures:
    config = _config(name)
    engine, lines = _engine(_model(name, weights), slots, prompt, 1)
    with jax.set_mesh(gpu_cases.mesh()):
        seconds = _fastest(engine, _requests(slots, prompt, config.vocab_size, most=1))
    # A third of the FLOPs of a training step, without the output head.
    head = config.width * config.vocab_size
    flops = model_flops(config, slots * prompt, prompt) / 3 - 2 * head * slots * prompt
    return {
        "model": name,
        "weights": weights,
        "slots": slots,
        "prompt": prompt,
        "prefill_seconds": seconds,
        "tokens_per_second": slots * prompt / seconds,
        "mfu": card.compute_share(flops, seconds),
        "compile_seconds": _compile_seconds(lines),
    }


def copies(card: Card, tiny: bool) -> Iterator[Case]:
    """Yield a case for each model: copies of the KV cache in the compiled decode program."""
    del card
    slots = 4 if tiny else SLOTS[0]
    for name in _models(tiny):
        yield Case(f"{name}, {slots} slots", functools.partial(_copies, name, slots, tiny))


def _copies(name: str, slots: int, tiny: bool) -> Figures:
    config, mesh = _config(name), gpu_cases.mesh()
    prompt, new = (16, 48) if tiny else (PROMPT, NEW)
    graph, abstract = registry.abstract(config, mesh)
    model = nnx.merge(graph, registry.for_inference(config, abstract))
    engine, _ = _engine(model, slots, prompt, new)
    with jax.set_mesh(mesh):
        decode = engine.programs()[1].lowered
        began = time.perf_counter()
        program = decode.compile()
    sizes = program.memory_analysis()
    return {
        "model": name,
        "slots": slots,
        "copies": cache_copies(
            program.as_text(), (config.layers, slots, prompt + new, config.width)
        ),
        "cache_bytes": _cache_bytes(config, slots, prompt + new),
        "reused_bytes": sizes.alias_size_in_bytes,
        "temporary_bytes": sizes.temp_size_in_bytes,
        "compile_seconds": time.perf_counter() - began,
    }


def cache_copies(text: str, shape: tuple[int, ...]) -> int:
    """Return the number of instructions in optimized HLO that copy an array of this shape.

    `copy-start` begins an asynchronous copy, whose result is a tuple.
    """
    array = rf"\w+\[{','.join(map(str, shape))}\]"
    pattern = rf"= (?:{array}\S* copy|\({array}[^=]* copy-start)\("
    return len(re.findall(pattern, text))


def _engine(model: Decoder, slots: int, prompt: int, new: int) -> tuple[Engine, list[str]]:
    """Return an engine with the sampling of `annotate`, and the lines that it will report."""
    lines: list[str] = []
    with jax.set_mesh(gpu_cases.mesh()):
        engine = Engine(
            model,
            slots=slots,
            prompt_length=prompt,
            sampling=SamplingConfig(max_new_tokens=new),
            eos_id=NO_END,
            say=lines.append,
        )
    return engine, lines


def _requests(count: int, prompt: int, vocab_size: int, most: int) -> list[GenerationRequest]:
    tokens = np.random.default_rng(0).integers(2, vocab_size, (count, prompt), np.int32)
    return [
        GenerationRequest(str(row), own, request_key(0, str(row), "decode"), most=most)
        for row, own in enumerate(tokens)
    ]


def _fastest(engine: Engine, requests: list[GenerationRequest]) -> float:
    """Return the seconds of the faster of two runs, after one that compiles.

    Raises RuntimeError if a text is shorter than its request.
    """
    times = []
    for _ in range(3):
        began = time.perf_counter()
        texts = list(engine.generate(requests))
        times.append(time.perf_counter() - began)
        short = [text.id for text in texts if len(text.tokens) != requests[0].most]
        if short or len(texts) != len(requests):
            raise RuntimeError(
                f"{len(texts)} of {len(requests)} texts, {len(short)} of them shorter than "
                f"{requests[0].most} tokens"
            )
    return min(times[1:])


def _compile_seconds(lines: list[str]) -> dict[str, float]:
    """Return the seconds by program of lines such as "compiled NAME in 1.2 s"."""
    matches = (re.fullmatch(r"compiled (.+) in ([\d.]+) s", line) for line in lines)
    return {match[1]: float(match[2]) for match in matches if match}


def _weight_bytes(model: Decoder) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(nnx.state(model)))


def _cache_bytes(config: ModelConfig, slots: int, tokens: float) -> float:
    """Return the bytes of keys and values of `tokens` tokens in each slot, in bfloat16."""
    return 2 * 2 * config.layers * slots * tokens * config.width
