"""A teacher without a model, for measurements of everything around the generation.

It returns texts at once, or after a set time, in a mixed order. A text depends on the key of its
request alone, as with a real teacher. `python -m benchmarks.stub_teacher SECONDS annotate …` runs
`teacherlm annotate …` with it; SECONDS is the time for each text.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from teacherlm_jax.annotation import explain, loaded_teacher
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.generation.requests import Completion, GenerationRequest
from teacherlm_jax.hf import any_model

_LONGEST = 12  # tokens


def main(arguments: Sequence[str]) -> int:
    """Run the command after the first argument, the seconds for each text."""
    from teacherlm_jax.cli import main as cli

    install(float(arguments[0]))
    return cli.main(arguments[1:])


def install(seconds: float = 0.0, patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Replace the loading of teachers and the generation, with `patch(object, name, value)`."""

    def stub(model: Any, requests: Iterable[GenerationRequest], *_: Any, **settings: Any) -> Any:
        return complete(model, requests, seconds=seconds, **settings)

    patch(explain, "complete", stub)
    patch(loaded_teacher, "any_model", SimpleNamespace(load=load))
    patch(loaded_teacher.ModelTeacher, "answers_found", answers_found)


def load(path: Any, *_: Any, **settings: Any) -> Any:
    """Return what annotation uses of a loaded model, without its parameters."""
    model = any_model.describe(str(path))
    config = SimpleNamespace(dtype=settings["dtype"] or model.config.dtype)
    return SimpleNamespace(
        vocabulary=model.vocabulary,
        step=model.step,
        digest=model.digest,
        config=config,
        weights=config.dtype,
    )


def answers_found(teacher: Any, explained: Sequence[GateInput]) -> list[bool | None]:
    """Return verdicts that depend on the texts alone; every third text has none."""
    return [(None, True, False)[len(one.text) % 3] for one in explained]


def complete(
    model: Any,
    requests: Iterable[GenerationRequest],
    *,
    slots: int,
    lengths: Mapping[int, int] | None,
    seconds: float,
    **_: Any,
) -> Iterator[Completion]:
    """Yield a completion for each request, with `slots` requests in flight."""
    size = model.vocabulary.size
    running: list[GenerationRequest] = []
    requests = iter(requests)
    while True:
        while len(running) < slots and (request := next(requests, None)) is not None:
            if lengths is not None and len(request.tokens) not in lengths:
                raise ValueError(f"{request.id}: {len(request.tokens)} tokens are not in the plan")
            running.append(request)
        if not running:
            return
        time.sleep(seconds)
        request = running.pop(int(running[0].key[1]) % len(running))
        first, second = map(int, request.key)
        tokens = tuple((first * (n + 7) + second) % size for n in range(second % _LONGEST))
        yield Completion(request.id, tokens, ("eos", "length")[first % 2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
