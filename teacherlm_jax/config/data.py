"""What is read, and what is prepared of it."""

import dataclasses
from collections.abc import Iterator

from teacherlm_jax.config.names import FORMATS, FORMS, NAME
from teacherlm_jax.fields import at_least, choice, number, required


@dataclasses.dataclass
class SourceConfig:
    """Files of one data set and how their rows are to be read."""

    name: str = required()
    path: str = required()  # file or glob, taken under the config's root
    format: str = choice(*FORMATS)
    subject: str = ""  # for rows that carry none
    limit: int = at_least(0, 0)  # rows used at most; 0: all


@dataclasses.dataclass
class MixtureConfig:
    """A prepared training set: which sources in which text forms, and what bears loss."""

    name: str = required()  # of its folder below the output
    sources: tuple[str, ...] = ()  # names of sources; empty: all of them
    forms: tuple[str, ...] = ("text",)  # see data.prompts.FORMS
    author: str = "human"  # whose explanations
    loss: str = choice("text", "answer", "answer_and_explanations")
    subject_prefix: bool = False
    checked_only: bool = False  # leave out explanations that failed a gate

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if not NAME.fullmatch(self.name):
            yield "name", f"{self.name!r} cannot name a folder; use letters, digits, _, - and ."
        if not self.forms:
            yield "forms", f"empty; name some of {', '.join(FORMS)}"
        for form in self.forms:
            if self.forms.count(form) > 1:
                yield "forms", f"{form!r} stands twice; each form makes one text of a sample"
            if form not in FORMS:
                yield "forms", f"{form!r} is none of {', '.join(FORMS)}"


@dataclasses.dataclass
class VocabularyConfig:
    """The vocabulary's folder, ours or one of transformers.

    With a size, it is trained on the sources when none is there.
    """

    path: str = required()
    size: int = at_least(0, 0)


@dataclasses.dataclass
class PrepareConfig:
    """Raw files to packed rows on disk, for several mixtures over the same sources."""

    output: str = required()
    root: str = ""  # folder that the sources' paths are taken under
    sources: tuple[SourceConfig, ...] = ()
    mixtures: tuple[MixtureConfig, ...] = ()
    vocabulary: VocabularyConfig = dataclasses.field(default_factory=VocabularyConfig)
    length: int = at_least(2, 2048)  # tokens of a packed row
    max_tokens: int = at_least(0, 0)  # longer texts are dropped and counted; 0: the row's length
    rows_per_shard: int = at_least(1, 4096)
    seed: int = number(0, limits="[0, 2147483647]")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yields (key, what is wrong) for combinations that cannot be."""
        if self.max_tokens > self.length:
            yield "max_tokens", f"{self.max_tokens} is more than a row holds (length={self.length})"
        if not self.sources:
            yield "sources", "empty; name at least one SourceConfig"
        if not self.mixtures:
            yield "mixtures", "empty; name at least one MixtureConfig"
        for kind, things in (("sources", self.sources), ("mixtures", self.mixtures)):
            names = [thing.name for thing in things]
            for twice in sorted({name for name in names if names.count(name) > 1}):
                yield kind, f"the name {twice!r} stands twice"
        known = {source.name for source in self.sources}
        for index, mixture in enumerate(self.mixtures):
            for name in sorted(set(mixture.sources) - known):
                yield f"mixtures[{index}].sources", f"no source is named {name!r}"
