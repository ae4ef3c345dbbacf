"""What is read, and what is prepared of it."""

import dataclasses
import itertools
from collections.abc import Iterator

from teacherlm_jax.config.fields import at_least, choice, location, number, required
from teacherlm_jax.config.names import FORMATS, FORMS, NAME, READERS


@dataclasses.dataclass
class ColumnsConfig:
    """Which columns hold what, for a source of the format "columns"; "" where none does.

    A dot leads into a column of objects, as in "answers.text".
    """

    question: str = "question"
    answer: str = "answer"  # an option's number, letter or text; without options, any text
    options: tuple[str, ...] = ()  # one column of lists, or a column for each option
    subject: str = ""
    id: str = ""
    cot: str = ""  # three kinds of explanation
    fundamental: str = ""
    mistake: str = ""
    author: str = "human"  # of the explanations
    # what an answer to options is; "": whole numbers are numbers, all else is letter or text
    answer_is: str = choice("", "number", "letter", "text")
    first: int = at_least(0, 0)  # number of the first option, where answers are numbers

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        for key in ("question", "answer"):
            if not getattr(self, key):
                yield key, "empty; every sample needs one"
        if not all(self.options):
            yield "options", f"{self.options} has an empty name"
        if not self.author and (self.cot or self.fundamental or self.mistake):
            yield "author", "empty; explanations are filed by author"


@dataclasses.dataclass
class SourceConfig:
    """Files of one data set and how their rows are to be read."""

    name: str = required()
    path: str = location(
        required=True
    )  # file, glob or folder, taken under the config's root; gs:// too
    format: str = choice(*FORMATS)
    reader: str = choice("", *READERS)  # "": told by the file's name, or by what is in the folder
    split: str = "train"  # of folders that the readers "tfds" and "datasets" read
    columns: ColumnsConfig = dataclasses.field(default_factory=ColumnsConfig)
    prompt: str = ""  # DATASET/NUMBER, what the format "muffin" asks about a row: data.muffin
    subject: str = ""  # for rows that carry none
    limit: int = at_least(0, 0)  # rows used at most; 0: all
    limit_by: str = choice("first", "seed")  # or those that the run's seed draws by their ids
    max_tokens: int = at_least(0, 0)  # of question and answer; longer samples are left out; 0: none

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.format != "columns" and self.columns != ColumnsConfig():
            yield "columns", f"read by the format 'columns' alone, and this is {self.format!r}"
        if self.format != "muffin" and self.prompt:
            yield "prompt", f"read by the format 'muffin' alone, and this is {self.format!r}"
        if self.format == "muffin" and not self.prompt:
            yield "prompt", "empty; the format 'muffin' asks by one of its prompts"


@dataclasses.dataclass
class PartConfig:
    """Sources that a mixture draws on in text forms of their own."""

    sources: tuple[str, ...] = ()  # names of sources; empty: all of them
    forms: tuple[str, ...] = ("text",)  # see data.prompts.FORMS
    subject_prefix: bool = False  # of samples that have a subject

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        yield from _form_problems(self.forms)


@dataclasses.dataclass
class MixtureConfig:
    """A prepared training set: which sources in which text forms, and what bears loss.

    `data.recipes` makes those of the paper.
    """

    name: str = required()  # of its folder below the output
    sources: tuple[str, ...] = ()  # names of sources; empty: all of them
    forms: tuple[str, ...] = ("text",)  # see data.prompts.FORMS
    author: str = "human"  # whose explanations
    loss: str = choice("text", "answer", "answer_and_explanations")
    subject_prefix: bool = False  # of samples that have a subject
    checked_only: bool = False  # leave out explanations that failed a gate
    also: tuple[PartConfig, ...] = ()  # mixed with the texts of the fields above
    too_long: str = choice("drop", "left", "right", "split")  # see data.packing.TOO_LONG

    @property
    def parts(self) -> tuple[PartConfig, ...]:
        """All that it draws on: `also`, and before it the part that its own fields describe."""
        return PartConfig(self.sources, self.forms, self.subject_prefix), *self.also

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if not NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} cannot name a folder; use letters, digits, _, - and ."
        yield from _form_problems(self.forms)


def _form_problems(forms: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if not forms:
        yield "forms", f"empty; name some of {', '.join(FORMS)}"
    for form in forms:
        if forms.count(form) > 1:
            yield "forms", f"{form!r} stands twice; each form makes one text of a sample"
        if form not in FORMS:
            yield "forms", f"{form!r} is none of {', '.join(FORMS)}"


@dataclasses.dataclass
class VocabularyConfig:
    """The vocabulary's folder, ours or one of transformers.

    With a size, it is trained on the sources when none is there.
    """

    path: str = location(required=True, local=True)
    size: int = at_least(0, 0)


@dataclasses.dataclass
class PrepareConfig:
    """Raw files to packed rows on disk, for several mixtures over the same sources."""

    output: str = location(required=True)
    root: str = location()  # folder that the sources' paths are taken under; gs:// too
    sources: tuple[SourceConfig, ...] = ()
    evaluation: tuple[SourceConfig, ...] = ()  # what no training question should stand in
    mixtures: tuple[MixtureConfig, ...] = ()
    vocabulary: VocabularyConfig = dataclasses.field(default_factory=VocabularyConfig)
    length: int = at_least(2, 2048)  # tokens of a packed row
    max_tokens: int = at_least(0, 0)  # of a text; 0: the row's length. See MixtureConfig.too_long
    rows_per_shard: int = at_least(1, 4096)
    seed: int = number(0, limits="[0, 2147483647]")
    # read everything and tell what was found, but prepare nothing; --check_only for short
    check_only: bool = dataclasses.field(default=False, metadata={"short": True})
    # of Apache Beam, as in --runner=DirectRunner; "": all in this process
    runner: str = dataclasses.field(default="", metadata={"short": True})
    beam_options: tuple[str, ...] = ()  # of Beam's pipelines, as in "--direct_num_workers=4"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.beam_options and not self.runner:
            yield "beam_options", "are for a runner of Beam; name one, as in --runner=DirectRunner"
        if self.max_tokens > self.length:
            yield "max_tokens", f"{self.max_tokens} is more than a row holds (length={self.length})"
        if not self.sources:
            yield "sources", "empty; name at least one SourceConfig"
        if not self.mixtures and not self.check_only:
            yield "mixtures", "empty; name at least one MixtureConfig"
        for kind in ("sources", "evaluation", "mixtures"):
            names = [thing.name for thing in getattr(self, kind)]
            for twice in sorted({name for name in names if names.count(name) > 1}):
                yield kind, f"the name {twice!r} stands twice"
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
                    yield f"{key}forms", f"{task[0]!r} in the form {task[1]!r} stands twice"
                tasks.add(task)
