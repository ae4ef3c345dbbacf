"""The `generation_kwargs` of a task of lm-evaluation-harness, as settings of the sampling."""

from collections.abc import Mapping
from typing import Any

from teacherlm_jax.config import SamplingConfig
from teacherlm_jax.errors import UserError

# Field of SamplingConfig by key.
_FIELDS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "min_new_tokens": "min_new_tokens",
}


def sampling_of(settings: Mapping[str, Any]) -> SamplingConfig:
    """Return the sampling that `generation_kwargs` describe.

    Args:
        settings: the result of the harness's `normalize_gen_kwargs`, which always has do_sample,
            until and max_gen_toks. Without top_k and top_p, all tokens can be sampled.

    Raises UserError for a setting that is not supported.
    """
    left = dict(settings)
    sampled, most = left.pop("do_sample"), left.pop("max_gen_toks")
    stop = tuple(text for text in left.pop("until") if text)
    if left.get("num_beams") == 1:
        del left["num_beams"]
    if unknown := sorted(left.keys() - _FIELDS.keys()):
        known = ", ".join(("do_sample", "until", "max_gen_toks", *_FIELDS))
        raise UserError(
            f"lm_eval: generation_kwargs sets {', '.join(unknown)}, which is not supported; remove "
            f"it from the task (supported: {known})"
        )
    chosen: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    chosen |= {_FIELDS[name]: value for name, value in left.items() if value is not None}
    if not sampled:
        chosen["temperature"] = 0.0
    return SamplingConfig(**chosen, max_new_tokens=most, stop=stop)
