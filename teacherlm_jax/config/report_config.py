"""Settings of `report`, which combines several runs."""

import dataclasses
import glob
import os
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, location, locations, number, plain
from teacherlm_jax.config.names import PLAIN_FORMATS

_ONLY_WITH = {  # keys of a report that belong to one of its subjects
    "data": ("format", "vocabulary"),
    "samples": ("blind", "authors", "limit", "seed"),
    "ratings": ("select",),
}
_SUFFIX = {"data": ".report", "samples": ".reading", "ratings": ".report"}  # of the folder


@dataclasses.dataclass
class ReportConfig:
    """Tables and figures of all runs below a folder, of one dataset, or of explanations to read."""

    output: str = location(
        help="folder of the report; empty: the path of --data or the first path of --ratings plus "
        "'.report', or the first path of --samples plus '.reading'"
    )
    root: str = location(local=True, help="folder that holds the runs to report")
    title: str = plain("TeacherLM", help="title of the page")
    paper: bool = plain(
        False,
        short=True,
        help="write the paper's tables beside the runs that stand for their cells, and the "
        "commands that fill the empty cells, instead of all runs",
    )
    data: str = location(
        local=True,
        short=True,
        help="report one dataset: samples (file, glob or folder), the run folder of an "
        "annotation, or the output of `prepare`",
    )
    format: str = choice(
        *PLAIN_FORMATS, help="layout of the rows of --data; other layouts have to be prepared first"
    )
    vocabulary: str = location(
        local=True,
        hub=True,
        help="vocabulary (tokenizer) used to count the tokens of --data: a vocabulary or Hugging "
        "Face tokenizer folder, or hf://org/name[@revision]; empty: the one next to the data",
    )
    samples: tuple[str, ...] = locations(
        local=True,
        short=True,
        help="write a page to read and rate the explanations in one or two run folders of "
        "annotations, or files of samples; two are shown side by side",
    )
    blind: bool = plain(
        False,
        short=True,
        help="the page of --samples does not say who wrote which explanation, and the sides are "
        "shuffled per sample by seed; --ratings resolves them",
    )
    authors: tuple[str, ...] = plain(
        (),
        help="authors of the explanations on the page of --samples: one for each path, or two of "
        "one path; empty: the author of the annotation, or the only ones in the file",
    )
    limit: int = at_least(
        1, 10_000, help="maximum number of samples on the page; if there are more, seed draws them"
    )
    seed: int = number(
        0, limits="[0, 2147483647]", help="seed of the sides of a blind page and of limit"
    )
    ratings: tuple[str, ...] = locations(
        local=True,
        short=True,
        help="report the ratings in files or globs that a page of --samples saved: win rates, mean "
        "ratings, and agreement between readers",
    )
    select: str = location(
        local=True,
        help="run folder of `train` whose checkpoints wrote the explanations of --ratings: the "
        "one that wins becomes RUN/checkpoints/best",
    )

    @property
    def subject(self) -> str:
        """Key of what is reported: "data", "samples", "ratings", or "root" for runs."""
        return next((key for key in _ONLY_WITH if getattr(self, key)), "root")

    @property
    def folder(self) -> str:
        """Run folder: `output`, or a path beside the data, samples or ratings if it is empty."""
        paths = getattr(self, self.subject)
        first = paths[0] if isinstance(paths, tuple) else paths
        return self.output or f"{first.rstrip('/')}{_SUFFIX.get(self.subject, '')}"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        given = [key for key in ("root", *_ONLY_WITH) if getattr(self, key)]
        if not given:
            advice = "--data for a dataset, --samples to read explanations, or --ratings"
            yield "root", f"empty; set it to report the runs below a folder, or set {advice}"
        elif len(given) > 1:
            first, second, *_ = ((key, self._paths(key)) for key in given)
            text = f"{', '.join(first[1])}, but --{second[0]}={','.join(second[1])} is set too"
            yield first[0], f"{text}; leave one of them out"
        if self.paper and self.subject != "root":
            subject = "one dataset" if self.data else self.subject
            yield "paper", f"set, but --{self.subject} reports {subject}; leave one of them out"
        if not self.output and (self.root or any(map(glob.has_magic, self._paths(self.subject)))):
            yield "output", "empty; name the report's folder, as in --config.output=runs/report"
        for subject, keys in _ONLY_WITH.items():
            for key in keys:
                if getattr(self, key) != getattr(ReportConfig, key) and subject != self.subject:
                    yield key, f"works only with --{subject}; leave it out"
        if len(self.samples) > 2:
            yield "samples", f"{len(self.samples)} paths, expected one or two; leave the others out"
        yield from self._missing()

    def _paths(self, key: str) -> tuple[str, ...]:
        value = getattr(self, key)
        return value if isinstance(value, tuple) else (value,)

    def _missing(self) -> Iterator[tuple[str, str]]:
        """Yield a problem if what is reported is missing.

        It is checked here, before the folder of a report is created beside it.
        """
        for path in self._paths(self.subject) if self.subject != "root" else ():
            if not ("://" in path or os.path.exists(path) or glob.glob(path)):
                yield self.subject, f"{path}: no such file or folder"
