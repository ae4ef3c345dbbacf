"""The TeacherLM authors' way to generate: transformers with random weights, on the same prompts.

    python -m benchmarks.authors_way SHAPE DEVICE

is the child process of `gpu_authors_way.py`: it writes a few texts one at a time in bfloat16, and
prints its figures as JSON. A process of its own leaves JAX's memory alone and is stopped as a whole
if it takes too long.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import BloomConfig, BloomForCausalLM, StoppingCriteria

from benchmarks import own_lengths
from teacherlm_jax.config import authors_sampling
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.models import registry

ALONE = 2  # samples whose texts are written one at a time
SECONDS = 15  # after which the child process starts no further text


class OwnLengths(StoppingCriteria):
    """Ends each text of a batch at its own length."""

    def __init__(self, start: int, limits: Sequence[int], device: torch.device):
        self._ends = start + torch.tensor(limits, device=device)

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        """Return which texts have reached their length."""
        return ids.shape[1] >= self._ends


def random_model(name: str, dtype: str = "float32", device: str = "cpu") -> BloomForCausalLM:
    """Return a model of a published BLOOM shape with random weights, made on `device`."""
    shape = registry.shape(name)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # float32 first would need twice the memory
    try:
        with torch.device(device):
            model = BloomForCausalLM(
                BloomConfig(
                    vocab_size=shape.vocab_size,
                    hidden_size=shape.width,
                    n_layer=shape.layers,
                    n_head=shape.heads,
                    bos_token_id=1,
                    eos_token_id=None,
                    pad_token_id=3,
                )
            )
    finally:
        torch.set_default_dtype(before)
    return model.eval()


def by_transformers(
    model: BloomForCausalLM, wanted: Sequence[GenerationRequest], batch: int
) -> float:
    """Return the tokens per second of transformers with batches of this size."""
    began = time.monotonic()
    for start in range(0, len(wanted), batch):
        _write(model, wanted[start : start + batch])
    return own_lengths.new_tokens(wanted) / (time.monotonic() - began)


def _write(model: BloomForCausalLM, own: Sequence[GenerationRequest]) -> None:
    """Write the texts of one batch, which ends with its longest text."""
    sampling = authors_sampling()
    longest = max(len(request.tokens) for request in own)
    limits = [request.most or 0 for request in own]
    ids = torch.full((len(own), longest), 3)
    mask = torch.zeros_like(ids)
    for row, request in enumerate(own):
        ids[row, longest - len(request.tokens) :] = torch.from_numpy(request.tokens).long()
        mask[row, longest - len(request.tokens) :] = 1
    with torch.no_grad():
        texts = model.generate(
            ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=True,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            max_new_tokens=own_lengths.LONGEST,
            pad_token_id=3,
            stopping_criteria=[OwnLengths(longest, limits, model.device)],
        )
    if texts.shape[1] - longest != max(limits):
        raise RuntimeError(
            f"transformers wrote {texts.shape[1] - longest} tokens, expected {max(limits)}"
        )


def one_at_a_time(name: str, device: str) -> dict[str, float]:
    """Return the number of texts and the tokens per second, after a short text that warms up."""
    wanted = own_lengths.requests(ALONE, registry.shape(name).vocab_size)
    model = random_model(name, "bfloat16", device)
    _write(model, [dataclasses.replace(wanted[0], most=8)])
    written, began = 0, time.monotonic()
    for request in wanted:
        if time.monotonic() - began > SECONDS:
            break
        _write(model, [request])
        written += 1
    seconds = time.monotonic() - began
    tokens = own_lengths.new_tokens(wanted[:written])
    return {"texts": written, "tokens_per_second": tokens / seconds}


def main(name: str, device: str) -> int:
    """Print the figures, or the reason why there are none, and return the exit status."""
    if device == "cuda" and not torch.cuda.is_available():
        print(json.dumps({"skipped": f"torch {torch.__version__} finds no GPU"}))
    else:
        print(json.dumps(one_at_a_time(name, device)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
