"""Settings of `prepare`, and of data sources in general."""

import dataclasses
import itertools
from collections.abc import Iterator

from teacherlm_jax.config.fields import (
    at_least,
    choice,
    group,
    location,
    not_among,
    number,
    plain,
    required,
)
from teacherlm_jax.config.names import FORMATS, FORMS, NAME, READERS

_FORMS_HELP = (
    "explanations that follow question and answer, in order: C (chain of thought), F "
    "(fundamentals), M (common mistakes); 'text' has none, 'shuffle' has all three in an order "
    "drawn per sample. Each form makes one training example per sample; any of "
    f"{', '.join(FORMS)}"
)
_SUBJECT_HELP = (
    "begin training examples with the sentence that names the subject, if a sample has one"
)
_SOURCES_HELP = "names of the sources to use; empty: all"


@dataclasses.dataclass
class ColumnsConfig:
    """Columns of a source in the format 'columns'; an empty name means there is no such column.

    A dot selects a field of a column of objects, as in "answers.text".
    """

    question: str = plain("question", help="column of the question")
    answer: str = plain(
        "answer",
        help="column of the answer: the number, letter or text of an option, or free text without "
        "options",
    )
    options: tuple[str, ...] = plain(
        (), help="one column with a list of options, or one column per option; empty: free text"
    )
    subject: str = plain("", help="column of the subject")
    id: str = plain("", help="column of the id; empty: the number of the row is used")
    cot: str = plain("", help="column of the chain of thought")
    fundamental: str = plain("", help="column of the fundamentals")
    mistake: str = plain("", help="column of the common mistakes")
    author: str = plain("human", help="author under whom the explanations are stored")
    answer_is: str = choice(
        *("", "number", "letter", "text"),
        help="how the answer names an option; empty: whole numbers are numbers, anything else is "
        "a letter, label or text, and ambiguous rows are skipped",
    )
    first: int = at_least(0, 0, help="number of the first option if answers are numbers")
    strip_marks: bool = plain(
        False, help="remove the marks that options begin with, such as 'A) ' or '1. '"
    )
    answer_after: str = plain(
        "",
        help="mark inside the answer's column, such as '####'; the answer is the text after its "
        "last occurrence, and an explanation in the same column is the text before it",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        for key in ("question", "answer"):
            if not getattr(self, key):
                yield key, "empty; every sample needs one"
        if not all(self.options):
            yield "options", f"{self.options} contains an empty name"
        if not self.author and (self.cot or self.fundamental or self.mistake):
            yield "author", "empty; explanations are stored by author"


@dataclasses.dataclass
class SourceConfig:
    """The files of one dataset and the layout of their rows."""

    name: str = required(help="name of the dataset in ids, results and mixtures")
    path: str = location(
        required=True, help="file, glob or folder, relative to `root`; gs:// works too"
    )
    format: str = choice(
        *FORMATS,
        help="layout of the rows: 'sample' is the sample format that annotate writes, 'columns' is "
        "described by `columns`, the others are as published",
    )
    reader: str = choice(
        *("", *READERS),
        help="file type; empty: from the file's name or the folder's contents",
    )
    split: str = plain(
        "train",
        help="split of a folder that the reader 'datasets' or 'tfds' reads; with 'tfds' also a "
        "slice such as train[:1%]",
    )
    header: tuple[str, ...] = plain(
        (), help="names of the columns of CSV and TSV files whose first row is not a header"
    )
    columns: ColumnsConfig = group(ColumnsConfig)
    explanations: str = location(
        help="jsonl file or glob, relative to `root`, with further explanations of the samples: an "
        "object with id, kind, author and text in each line; empty: none. A mixture's author "
        "chooses between them and those of the rows. Not for benchmarks"
    )
    drop_placeholders: bool = plain(
        False,
        help="leave out explanations that are placeholders, such as 'n/a', 'none' or 'TODO'; by "
        "default they are kept, counted and reported",
    )
    prompt: str = plain(
        "", help="for the format 'muffin': its prompt, as DATASET/NUMBER, such as rte/1"
    )
    subject: str = plain("", help="subject of rows that have none")
    limit: int = at_least(0, 0, help="largest number of rows to use; 0: all")
    limit_by: str = choice(
        *("first", "seed"),
        help="rows that `limit` keeps: the first ones, or a random subset drawn by the run's seed",
    )
    max_tokens: int = at_least(
        0,
        0,
        help="leave out samples whose question and answer together have more tokens than this, "
        "counted with the run's vocabulary; 0: keep all. Not for benchmarks, nor in `star`",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.format != "columns" and self.columns != ColumnsConfig():
            yield "columns", f"used only by the format 'columns', and this is {self.format!r}"
        if self.format != "muffin" and self.prompt:
            yield "prompt", f"used only by the format 'muffin', and this is {self.format!r}"
        if self.format == "muffin" and not self.prompt:
            yield "prompt", "empty; the format 'muffin' needs one, as in 'rte/1'"


@dataclasses.dataclass
class PartConfig:
    """Sources that a mixture uses in other forms."""

    sources: tuple[str, ...] = plain((), help=_SOURCES_HELP)
    forms: tuple[str, ...] = plain(("text",), help=_FORMS_HELP)
    subject_prefix: bool = plain(False, help=_SUBJECT_HELP)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        yield from _form_problems(self.forms)


@dataclasses.dataclass
class MixtureConfig:
    """One prepared training set: its sources, their forms, and the tokens that are trained.

    Sources are mixed in proportion to their sizes.

    `data.recipes` has the mixtures of the paper.
    """

    name: str = required(help="name of its folder below the output")
    sources: tuple[str, ...] = plain((), help=_SOURCES_HELP)
    forms: tuple[str, ...] = plain(("text",), help=_FORMS_HELP)
    author: str = plain(
        "human", help="label of who wrote the explanations to use, such as human or teacher"
    )
    loss: str = choice(
        *("text", "answer", "answer_and_explanations"),
        help="trained tokens (the loss mask): all tokens ('text'), the answer, or the answer and "
        "the explanations",
    )
    subject_prefix: bool = plain(False, help=_SUBJECT_HELP)
    checked_only: bool = plain(
        False, help="leave out explanations that failed a quality check (gate)"
    )
    also: tuple[PartConfig, ...] = plain((), help="further sources with different forms")
    too_long: str = choice(
        *("drop", "keep_first", "keep_last", "split"),
        renamed={"left": "keep_first", "right": "keep_last"},
        help="training examples longer than max_tokens: drop them, keep their first or last "
        "tokens, or split them into several examples",
    )

    @property
    def parts(self) -> tuple[PartConfig, ...]:
        """All parts of the mixture: the one that its own fields describe, then `also`."""
        return PartConfig(self.sources, self.forms, self.subject_prefix), *self.also

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if not NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} cannot name a file; use letters, digits, _, - and ."
        yield from _form_problems(self.forms)


def _form_problems(forms: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if not forms:
        yield "forms", f"empty; name some of {', '.join(FORMS)}"
    for form in forms:
        if forms.count(form) > 1:
            yield "forms", f"{form!r} appears twice; each form makes one text per sample"
        if form not in FORMS:
            yield "forms", not_among(form, FORMS)


@dataclasses.dataclass
class VocabularyConfig:
    """The vocabulary (tokenizer)."""

    path: str = location(
        required=True,
        local=True,
        hub=True,
        help="vocabulary folder, Hugging Face tokenizer folder, or hf://org/name[@revision]",
    )
    size: int = number(
        0,
        limits="[0, 100000000]",  # with much more, SentencePiece never ends
        help="train a SentencePiece vocabulary of this many pieces on the sources if the folder "
        "has none; 0: never",
    )


@dataclasses.dataclass
class PrepareConfig:
    """Packed rows on disk, for several mixtures over the same sources."""

    output: str = location(required=True, help="run folder; each mixture gets a folder in it")
    root: str = location(help="folder that the sources' paths are relative to; gs:// works too")
    sources: tuple[SourceConfig, ...] = plain((), help="the datasets")
    evaluation: tuple[SourceConfig, ...] = plain(
        (), help="evaluation sets; training questions that also appear in them are reported"
    )
    mixtures: tuple[MixtureConfig, ...] = plain((), help="the training sets to prepare")
    vocabulary: VocabularyConfig = group(VocabularyConfig)
    length: int = at_least(2, 2048, help="tokens per packed row")
    max_tokens: int = at_least(
        0,
        0,
        help="longest training example, in tokens; mixtures[N].too_long says what happens to "
        "longer ones; 0: same as `length`",
    )
    rows_per_shard: int = at_least(1, 4096, help="packed rows per output file")
    seed: int = number(
        0, limits="[0, 2147483647]", help="seed of subsampling, of the form 'shuffle' and of mixing"
    )
    check_only: bool = plain(
        False, short=True, help="read and check everything, report it, and prepare nothing"
    )
    runner: str = plain(
        "", short=True, help="Apache Beam runner, such as DirectRunner; empty: run without Beam"
    )
    beam_options: tuple[str, ...] = plain(
        (),
        help="options of the Beam runner, with commas between them, as in --direct_num_workers=4",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if self.beam_options and not self.runner:
            yield "beam_options", "need a Beam runner; set one, as in --runner=DirectRunner"
        if self.max_tokens > self.length:
            yield (
                "max_tokens",
                f"{self.max_tokens} exceeds length={self.length}, the tokens of a row",
            )
        if not self.sources:
            yield "sources", "empty; name at least one SourceConfig"
        if not self.mixtures and not self.check_only:
            yield "mixtures", "empty; name at least one MixtureConfig"
        for kind in ("sources", "evaluation", "mixtures"):
            names = [item.name for item in getattr(self, kind)]
            for twice in sorted({name for name in names if names.count(name) > 1}):
                yield kind, f"two have the name {twice!r}; names must differ"
        for index, mixture in enumerate(self.mixtures):
            for key, problem in self._problems_of(mixture):
                yield f"mixtures[{index}].{key}", problem

    def _problems_of(self, mixture: MixtureConfig) -> Iterator[tuple[str, str]]:
        known = tuple(source.name for source in self.sources)
        tasks: set[tuple[str, str]] = set()
        for index, part in enumerate(mixture.parts, start=-1):
            key = "" if index < 0 else f"also[{index}]."
            for name in sorted(set(part.sources) - set(known)):
                yield f"{key}sources", f"no source is named {name!r}"
            for task in itertools.product(dict.fromkeys(part.sources or known), part.forms):
                if task in tasks:
                    yield f"{key}forms", f"{task[0]!r} in the form {task[1]!r} appears twice"
                tasks.add(task)
