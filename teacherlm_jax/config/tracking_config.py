"""Services that track a run, and the names of the run in them."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

from teacherlm_jax.config.fields import not_among, plain

SERVICES = ("tensorboard", "wandb", "trackio")  # tracking.tracking.OPENERS
_HOOK = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # module:function
_REFUSED = re.compile(r"[/\\#?%:]")  # in names of projects, by W&B
_LONGEST = 128  # characters of a project, of W&B


def is_hook(name: str) -> bool:
    """Return whether a name of a service is the function of a user, `module:function`."""
    return bool(_HOOK.fullmatch(name))


def track_field(*default: str) -> Any:
    """Return the field `track` of a verb's config."""
    return plain(
        default,
        help=f"services that track the run, any of {', '.join(SERVICES)}, or "
        "MODULE:FUNCTION, a function of your own, with commas between them; wandb and trackio "
        "need the extra 'track' (see docs/how-to/track-experiments.md); empty: none",
    )


def track_problems(track: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for names in `track` that are unknown or not unique."""
    for name in track:
        if name not in SERVICES and not is_hook(name):
            yield "track", f"{not_among(name, SERVICES)}; a function of your own is MODULE:FUNCTION"
    for name in sorted({name for name in track if track.count(name) > 1}):
        yield "track", f"{name!r} is named twice; name each service once"


@dataclasses.dataclass
class TrackingConfig:
    """Names of the run in the services of `track`."""

    project: str = plain("", help="project; empty: WANDB_PROJECT if set, else 'teacherlm'")
    name: str = plain("", help="name of the run; empty: WANDB_NAME if set, else that of its folder")
    group: str = plain(
        "",
        help="group of runs; empty: for a point of a sweep, the folder of the sweep; else "
        "WANDB_RUN_GROUP if set",
    )
    tags: tuple[str, ...] = plain(
        (), help="tags of the run, with commas between them; empty: WANDB_TAGS if set"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for names that a service would refuse."""
        if refused := _REFUSED.search(self.project):
            yield "project", f"{self.project!r} has {refused[0]!r}; use none of / \\ # ? % :"
        if len(self.project) > _LONGEST:
            yield "project", f"has {len(self.project)} characters; use {_LONGEST} at most"
