"""The job of `annotate.py` and of `gpu_authors_way.py`: prompts, lengths of texts, and sampling.

Prompts of a sample share their first tokens, as those of `annotate` do. Random weights do not end a
text, so each text has a length of its own, around the mean of its kind in the paper (arXiv
2310.19019). It needs neither torch nor transformers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from teacherlm_jax.config import authors_sampling
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.models.decoder import Decoder

MEANS = {"cot": 70, "fundamental": 164, "mistake": 52}  # new tokens
LONGEST = 320


def requests(samples: int, ids: int = 250_000) -> list[GenerationRequest]:
    """Return three requests for each sample, with prompts of 40 to 120 tokens and limits.

    All tokens of the prompts are below `ids`.
    """
    rng = np.random.default_rng(0)
    triggers = {kind: rng.integers(5, ids, 6) for kind in MEANS}
    made = []
    for number in range(samples):
        prefix = rng.integers(5, ids, rng.integers(34, 115))
        for kind, mean in MEANS.items():
            length = int(np.clip(rng.lognormal(np.log(mean) - 0.125, 0.5), 8, LONGEST))
            made.append(
                GenerationRequest(
                    f"{kind}/{number}",
                    np.concatenate([prefix, triggers[kind]]).astype(np.int32),
                    request_key(0, str(number), kind),
                    prefix=len(prefix),
                    most=length,
                )
            )
    return made


def new_tokens(wanted: Sequence[GenerationRequest]) -> int:
    """Return the number of tokens of all texts."""
    return sum(request.most or 0 for request in wanted)


def slot_engine(
    model: Decoder,
    wanted: Sequence[GenerationRequest],
    slots: int,
    eos_id: int,
    say: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Return an engine for these requests, with the sampling of the TeacherLM authors' script.

    `say` gets a line about each program that was compiled.
    """
    sampling = authors_sampling()
    sampling.max_new_tokens = LONGEST
    return Engine(
        model,
        slots=slots,
        prompt_length=max(len(request.tokens) for request in wanted),
        sampling=sampling,
        eos_id=eos_id,
        drawable=None,
        members=len(MEANS),
        say=say,
    )
