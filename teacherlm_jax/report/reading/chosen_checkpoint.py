"""The checkpoint of a training run that readers prefer, which becomes `RUN/checkpoints/best`."""

from collections.abc import Mapping, Sequence
from typing import Any

from teacherlm_jax.checkpoints import selection
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import any_model
from teacherlm_jax.report.reading.rating_rows import Ratings
from teacherlm_jax.report.reading.win_rates import ALL, MeanRating, WinRate
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


def choose(
    run: str, ratings: Ratings, rates: Sequence[WinRate], means: Sequence[MeanRating]
) -> dict[str, Any]:
    """Record the checkpoint that wins the ratings in its run folder, and return the record.

    Args:
        run: folder of a training run.
        ratings: ratings of explanations, all of them by checkpoints of this run.
        rates: their win rates.
        means: their mean ratings.

    Raises UserError if a teacher is no checkpoint of the run, or if there is no single winner.
    """
    judged = {name for judgement in ratings.judgements for name in judgement.teachers}
    steps = _steps(run, ratings, sorted(judged))
    name, reason = winner(sorted(steps), rates, means)
    record = {
        "step": steps[name],
        "teacher": name,
        "reason": reason,
        "judgements": len(ratings.judgements),
        "readers": ratings.readers,
        "steps": dict(sorted(steps.items(), key=lambda item: item[1])),
        "ratings": dict(ratings.digests),
    }
    files.write_json(StoragePath(run) / layout.SELECTION, record)
    return record


def winner(
    teachers: Sequence[str], rates: Sequence[WinRate], means: Sequence[MeanRating]
) -> tuple[str, str]:
    """Return the winner of the comparisons or, without any, of the mean ratings, and the reason.

    The winner of comparisons is the teacher that nobody beats, and that beats every other teacher
    or one that beats it, and so on. Raises UserError if there is none, or more than one.
    """
    overall = _overall(rates)
    if not overall:
        return _highest(teachers, means)
    beats: dict[str, set[str]] = {teacher: set() for teacher in teachers}
    for rate in overall:
        if rate.share != 0.5:
            first, second = (rate.first, rate.second)[:: 1 if rate.share > 0.5 else -1]
            beats[first].add(second)
    best = [name for name in teachers if _reached(name, beats) == set(teachers) - {name}]
    if len(best) != 1:
        compared = "; ".join(f"{r.first} {100 * r.share:.1f}% against {r.second}" for r in overall)
        raise UserError(
            f"config.select: the comparisons have no single winner ({compared}); collect more of "
            "them, or compare the teachers that were not compared"
        )
    own = [rate for rate in overall if best[0] in (rate.first, rate.second)]
    return best[0], "win rate " + ", ".join(_share_of(best[0], rate) for rate in own)


def _share_of(name: str, rate: WinRate) -> str:
    (low, high), share, other = rate.interval, rate.share, rate.second
    if rate.second == name:
        low, high, share, other = 1 - high, 1 - low, 1 - share, rate.first
    return f"{100 * share:.1f}% ({100 * low:.1f} to {100 * high:.1f}) against {other}"


def _overall(rates: Sequence[WinRate]) -> list[WinRate]:
    """Return the win rates over all kinds: a pair with one kind has no line for all of them."""
    pairs = {(rate.first, rate.second): rate for rate in reversed(rates)}
    return [next((r for r in rates if r[:3] == (*pair, ALL)), pairs[pair]) for pair in pairs]


def _reached(name: str, beats: Mapping[str, set[str]]) -> set[str]:
    """Return the teachers that one beats directly or through others; itself if in a circle."""
    reached: set[str] = set()
    waiting = set(beats[name])
    while waiting:
        next_ = waiting.pop()
        reached.add(next_)
        waiting |= beats[next_] - reached
    return reached


def _highest(teachers: Sequence[str], means: Sequence[MeanRating]) -> tuple[str, str]:
    overall = {mean.teacher: mean for mean in reversed(means)}
    overall |= {mean.teacher: mean for mean in means if mean.kind == ALL}
    best = max(overall.values(), key=lambda mean: mean.mean)
    equal = [mean.teacher for mean in overall.values() if mean.mean == best.mean]
    if len(equal) > 1:
        raise UserError(
            f"config.select: {' and '.join(sorted(equal))} have the same mean rating, "
            f"{best.mean:.2f}; rate more explanations"
        )
    return best.teacher, f"mean rating {best.mean:.2f} of {best.ratings} explanations"


def _steps(run: str, ratings: Ratings, teachers: Sequence[str]) -> dict[str, int]:
    """Return the step of the checkpoint that is each teacher, found by the digest of its model."""
    checkpoints = Checkpoints(StoragePath(run))
    saved = checkpoints.steps()
    checkpoints.close()
    if not saved:
        raise UserError(f"config.select={run}: has no checkpoint; name a run folder of `train`")
    by_digest: dict[str, int] = {}
    for step in saved:
        digest = any_model.describe(StoragePath(run) / layout.CHECKPOINTS / str(step)).digest
        by_digest.setdefault(digest, step)
    kinds = {judgement.kind for judgement in ratings.judgements}
    steps: dict[str, int] = {}
    for name in teachers:
        models = [
            model
            for kind, own in ratings.teachers[name].models.items()
            if kind in kinds
            for model in own
        ]
        found = {by_digest.get(model["model_digest"]) for model in models}
        written = found.pop() if len(found) == 1 else None
        if written is None:
            paths = sorted({str(model["teacher"]) for model in models})
            raise UserError(
                f"config.select={run}: its checkpoints of the steps {', '.join(map(str, saved))} "
                f"did not write the explanations of {name}, which are by "
                f"{', '.join(paths) or 'no model that is recorded'}; name the run of that model"
            )
        steps[name] = written
    return steps


def advice(run: str) -> str:
    """Return a sentence about the use of the record in a run folder."""
    return f"{run}/{layout.CHECKPOINTS}/best is now this checkpoint ({selection.recorded_at(run)})"
