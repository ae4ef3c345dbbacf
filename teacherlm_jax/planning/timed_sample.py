"""Speed of an engine on this machine, from a few prompts that are really generated."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence

from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.generation.texts import LengthGroup

_PREFILL_SHARE = 0.2  # of the time, for the measurement of prefills alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedSample:
    """Times of one engine, without those of compilations.

    Attributes:
        counts: what was generated.
        seconds: time of that.
        texts: number of texts that were finished.
        prompt_token_seconds: time to read prompts, per token of them.
        step_seconds: time of one decoding step, which adds a token to every busy slot.
        busy: share of slots that are busy while prompts are waiting.
    """

    counts: SlotCounts
    seconds: float
    texts: int
    prompt_token_seconds: float
    step_seconds: float
    busy: float

    def mean_tokens(self, most: int) -> float | None:
        """Return the estimated length of a text in tokens; None if none was finished.

        Unfinished texts count too: tokens per end of a text, as for lifetimes that are censored.
        """
        return min(float(most), self.counts.tokens / self.texts) if self.texts else None

    def hours(
        self, lengths: Mapping[int, int], groups: Sequence[LengthGroup], tokens: float
    ) -> float:
        """Return the hours of all prompts of a job.

        Args:
            lengths: number of prompts by length in tokens.
            groups: groups of the prompts, one of which was timed; a step is assumed to take as long
                in all of them.
            tokens: new tokens of each text.
        """
        seconds, shorter = 0.0, -1
        for group in groups:
            own = {
                length: lengths[length] for length in lengths if shorter < length <= group.longest
            }
            shorter = group.longest
            seconds += self.prompt_token_seconds * sum(n * count for n, count in own.items())
            steps = tokens * sum(own.values()) / (group.slots * self.busy)
            seconds += self.step_seconds * steps
        return seconds / 3600


def timed(
    engine: Engine,
    requests: Sequence[GenerationRequest],
    slots: int,
    budget: float,
    complete: bool,
) -> TimedSample:
    """Generate texts for at most about `budget` seconds, compilations not counted.

    Args:
        engine: an engine with `slots` slots.
        requests: the prompts, of which some may be left out.
        slots: number of slots.
        budget: seconds.
        complete: whether these are all prompts of the job; otherwise the generation ends before
            slots become idle.
    """
    prefill = _timed_prefills(engine, requests[:slots], budget)
    affordable = budget / 2 / prefill.seconds * prefill.prompts  # prompts
    fed = requests if affordable >= slots else requests[: max(1, int(affordable))]
    keeps_busy = len(fed) > slots
    exhausted: list[bool] = []

    def prompts() -> Iterator[GenerationRequest]:
        yield from fed
        exhausted.append(True)

    def enough() -> bool:
        idle_soon = bool(exhausted) and keeps_busy and not complete
        return idle_soon or timer.seconds() > budget

    timer = _EngineTimer(engine)
    texts = sum(1 for _ in engine.generate(prompts(), enough))
    counts, seconds = timer.counts(), timer.seconds()
    steps = counts.slot_steps / slots
    decoding = max(0.0, seconds - counts.prefills * prefill.seconds)
    return TimedSample(
        counts=counts,
        seconds=seconds,
        texts=texts,
        prompt_token_seconds=prefill.seconds / prefill.tokens,
        step_seconds=decoding / steps if steps else 0.0,
        busy=((keeps_busy or complete) and counts.busy) or 1.0,
    )


@dataclasses.dataclass(frozen=True)
class _Prefill:
    """Seconds of one prefill, and the prompts and tokens that it reads, on average."""

    seconds: float
    prompts: float
    tokens: float


def _timed_prefills(
    engine: Engine, requests: Sequence[GenerationRequest], budget: float
) -> _Prefill:
    """Time prefills alone: of one group, and if there is time of all prompts."""
    single = [dataclasses.replace(request, most=1) for request in requests]
    of_group = _timed_group(engine, single[: engine.prefill_prompts])
    if of_group.seconds * len(single) / of_group.prompts > _PREFILL_SHARE * budget:
        return of_group
    return _timed_group(engine, single)  # the first run of a program may be slower


def _timed_group(engine: Engine, requests: Sequence[GenerationRequest]) -> _Prefill:
    timer = _EngineTimer(engine)
    list(engine.generate(requests))
    prefills = timer.counts().prefills
    tokens = sum(len(request.tokens) for request in requests)
    return _Prefill(timer.seconds() / prefills, len(requests) / prefills, tokens / prefills)


class _EngineTimer:
    """Seconds and counts of an engine since the timer was created, without compilations."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._before = engine.counts.copy()
        self._start = time.monotonic()

    def counts(self) -> SlotCounts:
        return self._engine.counts.since(self._before)

    def seconds(self) -> float:
        return time.monotonic() - self._start - self.counts().compile_seconds
