"""The text of a dry run."""

from collections.abc import Iterable, Iterator, Sequence

from teacherlm_jax.annotation.endpoint.endpoint_cost import cost
from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt
from teacherlm_jax.annotation.gates import answer_check
from teacherlm_jax.annotation.job.job_preview import JobPreview
from teacherlm_jax.annotation.progress import duration
from teacherlm_jax.annotation.teachers import AnnotationTeacher
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.data.percentiles import percentile
from teacherlm_jax.planning.examined_teacher import ExaminedTeacher
from teacherlm_jax.planning.programs import in_gib
from teacherlm_jax.planning.slice_estimate import SliceEstimate
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from teacherlm_jax.wording import counted

_PERCENTILES = (1, 50, 90, 99)
_PROMPTS = 3
_REASONS = 10


def page(
    config: AnnotateConfig,
    preview: JobPreview,
    examined: Sequence[ExaminedTeacher],
    served: Sequence[AnnotationTeacher],
    estimate: SliceEstimate | None,
) -> str:
    """Return the text.

    Args:
        config: the config.
        preview: the job and its remaining work.
        examined: figures of the models that have explanations to write.
        served: teachers on servers that have explanations to write.
        estimate: hours on a slice or on GPUs, if they were named.
    """
    blocks = [["dry run: nothing was written"], [*_rows(preview), *_left(config, preview)]]
    vocabulary = preview.job.vocabulary
    for number, prompt in enumerate(preview.prompts[:_PROMPTS], start=1):
        blocks.append(_prompt(number, prompt, vocabulary))
    blocks += map(_teacher, examined)
    blocks += [_served(config, preview, teacher) for teacher in served]
    if examined:
        blocks.append(_aligned(_hours(config, examined, estimate)))
        if answer_check.NAME in config.gates:
            blocks[-1].append(f"  the time for the gate {answer_check.NAME} comes on top")
    if not preview.left(preview.job.kinds):
        blocks.append(["nothing is left to generate"])
    return "\n\n".join("\n".join(block) for block in blocks)


def _rows(preview: JobPreview) -> Iterator[str]:
    """Yield the numbers of rows, and the reasons for refusing some."""
    record, refused = preview.job.record, preview.refused
    read = record.rows + record.refused
    yield from _aligned([("rows", f"{read:,}: {record.rows:,} usable, {record.refused:,} refused")])
    for reason, count in refused.counts.most_common(_REASONS):
        example, places = refused.examples.get(reason), refused.places_of(reason)
        shown = f"{reason}, for example: {example}" if example else reason
        yield f"    {count:,} refused: {shown}" + (f" ({', '.join(places)})" if places else "")
    if (others := len(refused.counts) - _REASONS) > 0:
        yield f"    and {others} other reasons"


def _left(config: AnnotateConfig, preview: JobPreview) -> list[str]:
    """Return the remaining explanations, with the lengths of the prompts if they are known."""
    job, new_tokens = preview.job, config.sampling.max_new_tokens
    left, lengths = preview.left(job.kinds), job.record.lengths_of(job.kinds)
    lines = [("explanations", f"{job.total:,}: {job.total - left:,} on disk, {left:,} left")]
    if job.vocabulary is not None:
        shares = ", ".join(f"p{share} {percentile(lengths, share / 100)}" for share in _PERCENTILES)
        lines.append(("tokens of a prompt", f"{shares}, longest {max(lengths)}"))
        tokens = sum(length * count for length, count in lengths.items())
        about = "" if left == job.total else "about "
        shown = f"{about}{tokens * left / job.total:,.0f}"
        lines.append(("prompt tokens left", f"{shown}{_once(config)}"))
    most, again = left * new_tokens * config.attempts, _again(config)
    lines.append(("new tokens left", f"at most {most:,}, {new_tokens:,} each{again}"))
    return _aligned(lines)


def _again(config: AnnotateConfig) -> str:
    """Return the condition of a bound, if explanations may be generated again."""
    return f" in {config.attempts} attempts" if config.attempts > 1 else ""


def _once(config: AnnotateConfig) -> str:
    """Return the condition of an estimate that counts one attempt, if there may be more."""
    return " for one attempt each" if config.attempts > 1 else ""


def _prompt(number: int, prompt: ExplanationPrompt, vocabulary: Vocabulary | None) -> list[str]:
    """Return a prompt as the model reads it, or as a teacher on a server gets it."""
    if vocabulary is None:
        return [f"prompt {number}: {prompt.id}", prompt.text]
    read = vocabulary.spelled(prompt.tokens.tolist())
    return [f"prompt {number}: {prompt.id}, {counted(len(prompt.tokens), 'token')}", read]


def _served(config: AnnotateConfig, preview: JobPreview, teacher: AnnotationTeacher) -> list[str]:
    line = f"{teacher.name}: {', '.join(teacher.kinds)}; nothing was generated there"
    new_tokens = preview.left(teacher.kinds) * config.sampling.max_new_tokens
    if price := cost(config.endpoint, 0, new_tokens):
        line += f"; the new tokens cost at most {price:,.4f}"
    return [line]


def _teacher(examined: ExaminedTeacher) -> list[str]:
    """Return programs, memory and speed of a teacher."""
    lines = [f"{examined.teacher.name}: {', '.join(examined.teacher.kinds)}"]
    for group, programs in zip(examined.groups, examined.programs, strict=True):
        longest, slots = counted(group.longest, "token"), counted(group.slots, "slot")
        lines.append(f"  prompts of up to {longest}: {slots}; it compiles")
        lines += [f"    {program}" for program in programs]
    needed = examined.parameters + examined.slots + examined.temporaries
    available = f" of {in_gib(examined.available)}" if examined.available else ""
    parts = {
        "parameters": examined.parameters,
        "KV cache": examined.slots,
        "temporaries": examined.temporaries,
    }
    shown = ", ".join(f"{name} {in_gib(size)}" for name, size in parts.items())
    sample = examined.sample
    timed = f"{counted(sample.counts.tokens, 'new token')} of "
    timed += f"{counted(sample.counts.prompts, 'text')} in {sample.seconds:.1f} s"
    return lines + _aligned(
        [
            ("memory per device", f"{in_gib(needed)}{available}: {shown}"),
            ("timed", f"{timed}; {counted(sample.texts, 'text')} finished"),
        ]
    )


def _hours(
    config: AnnotateConfig, examined: Sequence[ExaminedTeacher], estimate: SliceEstimate | None
) -> list[tuple[str, str]]:
    """Return the time on this machine and on the slice."""
    most = duration(3600 * config.attempts * sum(one.most_hours for one in examined))
    here = f"at most {most}{_again(config)}, if no text ends before max_new_tokens"
    known = [one for one in examined if one.hours is not None]
    if len(known) == len(examined):
        about = duration(3600 * sum(one.hours or 0.0 for one in known))
        lengths = " and ".join(f"{one.tokens:.0f}" for one in known)
        usual = f"about {about}{_once(config)}, if texts have {lengths} tokens, as in the sample"
        here = f"{usual}; {here}"
    lines = [(f"on {examined[0].machine}", here)]
    if estimate is None:
        return lines
    if (speed := estimate.speed) is None:
        return [*lines, (f"on {estimate.slice}", estimate.problem)]
    hours = f"{duration(3600 * speed['hours'])} {estimate.basis}, "
    hours += f"{speed['chip_hours']:,.2g} {estimate.unit}-hours"
    hours += _once(config)
    length = f"{speed['tokens_per_text']:.0f} tokens, as in the paper"
    return [*lines, (f"on {estimate.slice}", f"{hours}, if texts have {length}")]


def _aligned(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {name:<22}{value}" for name, value in rows]
