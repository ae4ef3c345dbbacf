"""Settings of `convert` for the dataset of an `annotate` run."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, not_among, plain
from teacherlm_jax.config.names import FORMS


@dataclasses.dataclass
class DatasetConfig:
    """The dataset written from a finished `annotate` run; not for models."""

    format: str = choice(
        "parquet", "jsonl", help="type of the data files; both have the same rows and columns"
    )
    rows: str = choice(
        *("sample", "messages"),
        help="'sample': one row per sample, in the sample format that `prepare` reads; 'messages': "
        "chats for SFT trainers, in which the user asks the question and the assistant answers "
        "and explains",
    )
    forms: tuple[str, ...] = plain(
        (),
        help="with rows=messages: explanations in an answer, as in a mixture; each form makes one "
        f"row per sample that has them; any of {', '.join(FORMS)}; empty: one row per explanation",
    )
    checked_only: bool = plain(
        False, help="leave out explanations that failed a gate, as a mixture's checked_only does"
    )
    annotations: bool = plain(
        True,
        help="with rows=sample: keep the column `annotations`, which has teacher, sampling and "
        "verdicts of every explanation",
    )
    rows_per_file: int = at_least(1, 100_000, help="largest number of rows in a data file")
    language: str = plain(
        "", help="language of the texts for the dataset card, such as en; empty: not stated"
    )
    license: str = plain(
        "", help="license for the dataset card, such as cc-by-4.0; empty: a line to fill in"
    )
    private: bool = plain(True, help="whether a new repository on the Hugging Face Hub is private")
    update: bool = plain(
        False,
        help="upload to a repository that has files: its data files and README.md are replaced in "
        "one commit",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        for form in self.forms:
            if form not in FORMS:
                yield "forms", not_among(form, FORMS)
        if self.forms and self.rows != "messages":
            yield "forms", "set, but rows='sample' has no forms; set rows='messages'"
        for form in sorted({form for form in self.forms if self.forms.count(form) > 1}):
            yield "forms", f"{form!r} is named twice; name each form once"
