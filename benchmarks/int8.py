"""`make bench-int8`: weights in int8 beside those in float32 and bfloat16, on this machine.

Two parts, of which the second does not need the first:

- Memory and speed of the slot engine with a model of bloom-560m's shape and random weights, which
  do not end a text: bytes of the parameters, of the KV cache and of the largest temporary results,
  and tokens per second, with both dtypes of the computation.
- Explanations of a teacher that was trained: the quickstart's, after its second stage. It explains
  generated samples greedily, with its weights in float32 and in int8. Texts are compared token by
  token, and judged by the default gates and by the checker of generated samples.

`--small` runs both with tiny models, and neither judges nor records the figures.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks import harness
from teacherlm_jax import config, sharding
from teacherlm_jax.annotation import explain
from teacherlm_jax.annotation.explain import GeneratedExplanation
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.cli import main as teacherlm
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.hf import any_model
from teacherlm_jax.models import int8, registry
from teacherlm_jax.models.decoder import Decoder

DTYPES = ("float32", "bfloat16")
MIB = 2**20
SAMPLE_SEED = 77  # of samples that the teacher has not seen
SHARE, FEWER = 0.55, 0.02  # goals: bytes beside bfloat16, and texts that pass fewer gates


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the benchmark: its model, texts, tokens, slots, samples, and the quickstart's form.

    Attributes:
        shape: name of the model of the first part.
        texts: number of texts of the first part.
        prompt: tokens of a prompt.
        new: tokens of a text.
        slots: texts at the same time.
        samples: samples of the second part.
        variant: settings of the quickstart's config.
    """

    shape: str = "bloom-560m"
    texts: int = 48
    prompt: int = 64
    new: int = 48
    slots: int = 16
    samples: int = 200
    variant: str = ""


SMALL = Sizes("bloom-tiny", texts=8, prompt=16, new=8, slots=4, samples=6, variant=",tiny")


def _model(shape: config.ModelConfig, weights: str) -> Decoder:
    """Return the model with random weights, stored as `annotate` stores them."""
    mesh = _mesh()
    graph, abstract = registry.abstract(shape, mesh, weights=weights)
    abstract = registry.for_inference(shape, abstract)
    parameters = nnx.to_pure_dict(nnx.state(registry.build(shape, nnx.Rngs(0))))
    if weights:
        parameters = int8.quantized(parameters, abstract)
    parameters = jax.tree.map(
        lambda array, wanted: jax.device_put(array.astype(wanted.dtype), wanted.sharding),
        parameters,
        abstract,
    )
    return nnx.merge(graph, parameters)


def _mesh() -> jax.sharding.Mesh:
    return sharding.make_mesh(config.MeshConfig(data=1), jax.devices()[:1])


def speed(sizes: Sizes, dtype: str, weights: str) -> dict[str, Any]:
    """Return memory and tokens per second of the engine, without the time to compile."""
    shape = registry.shape(sizes.shape, dtype=dtype)
    rng = np.random.default_rng(0)
    prompts = rng.integers(5, shape.vocab_size, (sizes.texts, sizes.prompt), np.int32)
    requests = [
        GenerationRequest(str(row), tokens, request_key(0, str(row), "text"))
        for row, tokens in enumerate(prompts)
    ]
    with jax.set_mesh(_mesh()):
        engine = Engine(
            _model(shape, weights),
            slots=sizes.slots,
            prompt_length=sizes.prompt,
            sampling=config.SamplingConfig(max_new_tokens=sizes.new),
            eos_id=-1,  # no token, so all texts have the same length
        )
        parameters, slots = engine.bytes_per_device()
        decode = engine.programs()[1].lowered.compile().memory_analysis()
        list(engine.generate(requests[: sizes.slots]))
        began = time.monotonic()
        tokens = sum(len(text.tokens) for text in engine.generate(requests))
        seconds = time.monotonic() - began
    figures = {
        "dtype": dtype,
        "weights": weights or dtype,
        "parameter_bytes": parameters,
        "slot_bytes": slots,
        "temporary_bytes": decode.temp_size_in_bytes,
        "tokens_per_second": tokens / seconds,
    }
    print(figures, flush=True)
    return figures


def trained(folder: str, sizes: Sizes) -> str:
    """Train the quickstart's teacher in a folder; return the path of its second stage."""
    root = f"{folder}/quickstart"
    arguments = [f"--config=configs/quickstart.py:root={root}{sizes.variant}", "--until=stage2"]
    if teacherlm.main(["quickstart", *arguments]):
        raise RuntimeError("the teacher could not be trained")
    return f"{root}/stage2"


def equal_tokens(
    loaded: LoadedModel,
    exact: Sequence[GeneratedExplanation],
    other: Sequence[GeneratedExplanation],
) -> tuple[int, int]:
    """Return the tokens that are equal at the same place of both texts, and those of the longer."""
    equal = whole = 0
    for one, two in zip(exact, other, strict=True):
        first, second = (list(loaded.vocabulary.encode(text.text)) for text in (one, two))
        equal += sum(a == b for a, b in zip(first, second, strict=False))
        whole += max(len(first), len(second))
    return equal, whole


def _passed(texts: Sequence[GeneratedExplanation], gates: Sequence[str]) -> float:
    return sum(all(text.gates.get(gate, True) for gate in gates) for text in texts) / len(texts)


def quality(teacher: str, sizes: Sizes) -> dict[str, Any]:
    """Return how the explanations with weights in int8 differ from those with float32."""
    mesh = _mesh()
    texts = {}
    for weights in ("", "int8"):
        loaded = any_model.load(teacher, mesh, dtype="float32", weights=weights)
        texts[weights] = explain.explain(
            *(loaded, list(synthetic.generate(sizes.samples, seed=SAMPLE_SEED)), KINDS),
            config.SamplingConfig(temperature=0.0, max_new_tokens=128),
            gates=(*config.DEFAULT_GATES, "synthetic"),
            slots=32,
        )
    exact, other = texts[""], texts["int8"]
    equal, whole = equal_tokens(loaded, exact, other)
    same = sum(one.text == two.text for one, two in zip(exact, other, strict=True))
    return {
        "texts": len(exact),
        "equal_tokens": equal / max(1, whole),
        "equal_texts": same / len(exact),
        "passed": {
            name: {"float32": _passed(exact, gates), "int8": _passed(other, gates)}
            for name, gates in {
                "default gates": config.DEFAULT_GATES,
                "checker of generated samples": ("synthetic",),
            }.items()
        },
    }


def _tables(speeds: Sequence[dict[str, Any]], found: dict[str, Any]) -> str:
    rows = [
        [
            way["dtype"],
            way["weights"],
            *(f"{way[key] / MIB:.0f}" for key in ("parameter_bytes", "slot_bytes")),
            f"{way['temporary_bytes'] / MIB:.0f}",
            f"{way['tokens_per_second']:.1f}",
        ]
        for way in speeds
    ]
    header = ("computation", "weights", "parameters, MiB", "slots with KV cache, MiB",
              "temporaries of decode, MiB", "tokens/s")  # fmt: skip
    shares = [
        ["equal greedy tokens", "", f"{found['equal_tokens']:.1%}"],
        ["equal texts", "", f"{found['equal_texts']:.1%}"],
        *(
            [f"passed: {name}", f"{shares['float32']:.1%}", f"{shares['int8']:.1%}"]
            for name, shares in found["passed"].items()
        ),
    ]
    first = harness.table(header, rows)
    return f"{first}\n{harness.table(('texts', 'float32', 'int8'), shares)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="tiny models; nothing is judged")
    parser.add_argument("--teacher", default="", help="a trained teacher instead of a new one")
    options = parser.parse_args(arguments)
    sizes = SMALL if options.small else Sizes()
    speeds = [speed(sizes, dtype, weights) for dtype in DTYPES for weights in ("", "int8")]
    with tempfile.TemporaryDirectory() as folder:
        found = quality(options.teacher or trained(folder, sizes), sizes)
    text = _tables(speeds, found)
    print(text)
    by_weights = {(way["dtype"], way["weights"]): way["parameter_bytes"] for way in speeds}
    share = by_weights["bfloat16", "int8"] / by_weights["bfloat16", "bfloat16"]
    fewer = max(shares["float32"] - shares["int8"] for shares in found["passed"].values())
    figure = f"{share:.2f} of the bytes of bfloat16, {100 * fewer:.1f} points fewer texts pass"
    goal = f"at most {SHARE:g} and {100 * FEWER:g}"
    met = share <= SHARE and fewer <= FEWER
    if options.small:  # too small for the goals: scales and norms are a large part
        print(figure)
        return 0
    text += (
        f"\nThe first table has a model of {sizes.shape}'s shape with {sizes.slots} slots, the "
        f"second {found['texts']} explanations by the quickstart's teacher.\n"
    )
    harness.put_into(harness.RESULTS_PAGE, "int8", text + harness.conditions("qwix"))
    return harness.finish("int8", figure, goal, met, {"speed": speeds, "quality": found})


if __name__ == "__main__":
    sys.exit(main())
