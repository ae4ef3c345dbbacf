"""The steps of a pipeline that a call runs: all, or those that `--from` and `--until` select."""

import difflib
from collections.abc import Mapping, Sequence

from teacherlm_jax.config import PipelineOptions
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines import step_digests
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.wording import counted

_MOST_NAMES = 40  # in a message


def choose(steps: Sequence[Step], options: PipelineOptions) -> Sequence[Step]:
    """Return the steps that the options select, in order.

    Raises UserError for an unknown name, if no step is selected, and if a step that is not selected
    but needed is not finished.
    """
    by_name = {step.name: step for step in steps}
    chosen = set(by_name)
    if options.until:
        chosen &= _needed_by(_known(options.until, "until", by_name), by_name)
    if options.from_:
        first = _known(options.from_, "from", by_name)
        chosen &= {name for name in by_name if first in _needed_by(name, by_name)}
        if not chosen:
            raise UserError(
                f"--until={options.until}: this step does not need {options.from_!r}; leave out "
                "--from or --until"
            )
    for step in steps:
        for name in step.after if step.name in chosen else ():
            if name not in chosen and not by_name[name].finished:
                raise UserError(
                    f"--from={options.from_}: the step {step.name!r} needs {name!r}, which is not "
                    f"finished; run it first, as with --until={name}, or leave out --from"
                )
    return [step for step in steps if step.name in chosen]


def require_inputs(steps: Sequence[Step]) -> None:
    """Raise UserError if an input that no step writes is missing, for a step that is to be run."""
    missing: dict[str, list[str]] = {}
    for step in steps:
        if not step.finished:
            for path in step.inputs:
                if path in missing or step_digests.of_path(path) == step_digests.MISSING:
                    missing.setdefault(path, []).append(step.name)
    if missing:
        path, names = next(iter(missing.items()))
        others = f"; also missing: {', '.join([*missing][1:])}" if len(missing) > 1 else ""
        more = f" and {counted(len(names) - 1, 'other')}" if len(names) > 1 else ""
        raise UserError(
            f"{path}: no such file or folder, and the step {names[0]!r}{more} reads it{others}; "
            "put it there, or name another path in the config of the pipeline"
        )


def _needed_by(name: str, steps: Mapping[str, Step]) -> set[str]:
    """Return a step and all steps that it needs, also indirectly."""
    found, pending = set(), [name]
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending += steps[one].after
    return found


def _known(name: str, option: str, steps: Mapping[str, Step]) -> str:
    if name not in steps:
        near = difflib.get_close_matches(name, steps, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        few = len(steps) <= _MOST_NAMES
        known = f"known: {', '.join(steps)}" if few else "--status lists the names"
        raise UserError(f"--{option}: no step is named {name!r}; {known}{hint}")
    return name
