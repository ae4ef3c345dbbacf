"""The TeacherLM authors' way to generate: transformers with random weights, on the same prompts."""

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
