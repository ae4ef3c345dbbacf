"""Part of `benchmarks/gpu.py`: the engine beside the authors' way, one text at a time.

The TeacherLM authors' script writes one text at a time with transformers. Both ways get prompts,
lengths and sampling of `annotate.py`. transformers runs in a child process, in the memory that JAX
has not reserved.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import jax

from benchmarks import gpu_cases, gpu_generation, harness, own_lengths
from benchmarks.gpu_cases import Card, Case, Figures, NotMeasured
from teacherlm_jax.models import registry

MODEL, SLOTS = "bloom-1b1", 256
SAMPLES = 512  # of the engine, each with three texts
LEAST = 50  # seconds in which the case should fit
_CHILD_SECONDS = 40  # after which the child process is stopped on a GPU
_PACKAGES = ("torch", "transformers")


def missing() -> str:
    """Return a sentence about the packages that are not installed; "" if all are."""
    names = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    verb = "is" if len(names) == 1 else "are"
    return f"{' and '.join(names)} {verb} not installed" if names else ""


def authors_way(card: Card, tiny: bool) -> Iterator[Case]:
    """Yield one case: tokens per second of the engine, and as a multiple of the authors' way."""
    del card
    name, slots, samples = ("bloom-tiny", 4, 4) if tiny else (MODEL, SLOTS, SAMPLES)
    measure = functools.partial(_compare, name, slots, samples, "cpu" if tiny else "cuda")
    label = f"{name}, bfloat16, {slots} slots, beside transformers with one text at a time"
    yield Case(label, measure, least=0 if missing() else LEAST)


def _compare(name: str, slots: int, samples: int, device: str) -> Figures:
    alone = one_at_a_time(name, device)
    ours = _by_the_engine(name, slots, samples)
    return {
        "model": name,
        "slots": slots,
        **ours,
        "transformers_texts": alone["texts"],
        "transformers_tokens_per_second": alone["tokens_per_second"],
        "times_as_fast": ours["tokens_per_second"] / alone["tokens_per_second"],
    }


def one_at_a_time(name: str, device: str) -> Figures:
    """Return the texts and tokens per second of transformers, measured in a child process.

    Args:
        name: published shape.
        device: "cpu" or "cuda", for torch.

    Raises:
        NotMeasured: a package is not installed, or torch finds no GPU.
        RuntimeError: the child process took too long on a GPU, or failed; the message has the last
            line of its output.
    """
    if reason := missing():
        raise NotMeasured(reason)
    settings, timeout = {"JAX_PLATFORMS": "cpu"}, _CHILD_SECONDS  # JAX reserves no memory again
    if device == "cpu":  # a test: threads of torch would wait for each other on busy cores
        settings["OMP_NUM_THREADS"], timeout = "1", None
    try:
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.authors_way", name, device],
            cwd=harness.ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:  # whose message has the path of Python
        raise RuntimeError(f"transformers: stopped after {timeout} s") from None
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit status {child.returncode}"]
        advice = ""  # if this part runs alone, `gpu.py` has not set the variable
        if "out of memory" in lines[-1].lower() and "XLA_PYTHON_CLIENT_MEM_FRACTION" in os.environ:
            advice = "; to leave it more memory, run this part alone: --parts authors_way"
        raise RuntimeError(f"transformers: {lines[-1]}{advice}")
    figures = json.loads(child.stdout.splitlines()[-1])
    if "skipped" in figures:
        raise NotMeasured(figures["skipped"])
    return figures


def _by_the_engine(name: str, slots: int, samples: int) -> Figures:
    """Return the figures of the engine in the second of two runs; the first one compiles."""
    config = registry.shape(name, dtype="bfloat16")
    wanted = own_lengths.requests(samples, config.vocab_size)
    with jax.set_mesh(gpu_cases.mesh()):
        model = gpu_generation.in_bfloat16(config)
        engine = own_lengths.slot_engine(model, wanted, slots, gpu_generation.NO_END)
        for _ in range(2):
            before, began = engine.counts.copy(), time.perf_counter()
            tokens = sum(len(text.tokens) for text in engine.generate(wanted))
            seconds = time.perf_counter() - began
    if tokens != own_lengths.new_tokens(wanted):
        raise RuntimeError(
            f"the engine wrote {tokens} tokens, expected {own_lengths.new_tokens(wanted)}"
        )
    return {
        "texts": len(wanted),
        "tokens_per_second": tokens / seconds,
        "busy_share": engine.counts.since(before).busy,
        "compile_seconds": engine.counts.compile_seconds,
    }
