"""Hints at mistakes in a source's config: missing columns, unusual answers, marks of options."""

from collections import Counter
from collections.abc import Iterator

from teacherlm_jax.config import BenchmarkConfig, SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import columns
from teacherlm_jax.sources.columns import RawRow
from teacherlm_jax.sources.explanation_filters import is_placeholder
from teacherlm_jax.sources.option_marks import without_marks

_ENOUGH = 10  # number of answers without a 0 that suggest counting from 1
_ANSWER_MARK = "####"  # precedes the final answer in GSM8K and in sets like it


class SourceNotes:
    """Counts of the rows and samples of one source, in constant memory.

    Attributes:
        all_read: whether every row was seen; the reader of the rows sets it.
        placeholders: number of explanations that are placeholders, by kind.
    """

    def __init__(self, config: SourceConfig):
        self.all_read = False
        self.placeholders: Counter[str] = Counter()
        self._config = config
        self._explanations: Counter[str] = Counter()
        self._example = ""
        self._missing = set(columns.used_columns(config))
        self._available: dict[str, None] = {}
        self._numbers = 0  # answers that are whole numbers
        self._lowest = self._highest = 0
        self._most_options = 0
        self._samples = self._marked = self._answers_marked = 0

    def add_row(self, row: RawRow) -> None:
        """Note the columns of a row, and its answer if that is a number."""
        if self._missing:
            available = columns.columns_of(row)
            self._missing = {
                name
                for name in self._missing
                if columns.column_of(name, available) not in available
            }
            self._available |= dict.fromkeys(available)
        if self._config.format != "columns":
            return
        number = columns.answer_number(self._config.columns, row)
        if number is not None:
            self._lowest = min(self._lowest, number) if self._numbers else number
            self._highest = max(self._highest, number) if self._numbers else number
            self._numbers += 1

    def add_sample(self, sample: Sample) -> None:
        """Note the options, answer and explanations of a sample."""
        self._samples += 1
        self._most_options = max(self._most_options, len(sample.options))
        if sample.options and without_marks(sample.options):
            self._marked += 1
        if _ANSWER_MARK in sample.answer:
            self._answers_marked += 1
        for kind, texts in sample.explanations.items():
            for text in texts.values():
                self._explanations[kind] += 1
                if is_placeholder(text):
                    self.placeholders[kind] += 1
                    self._example = self._example or text.strip()

    def refuse_missing(self) -> None:
        """Raise UserError for a column that the config names and no row has.

        While there are unread rows, such as those beyond a limit, only the columns of options are
        checked: without them, questions with options would be asked for free text.
        """
        missing = self._missing
        if not self.all_read:
            options = set(self._config.columns.options)
            missing = options if options and options <= missing else set()
        if missing and self._available:
            raise UserError(
                f"source {self._config.name!r}: no row has a column "
                f"{' or '.join(sorted(missing))}; the columns are {', '.join(self._available)}"
            )

    def warnings(self) -> Iterator[str]:
        """Yield warnings about the config, each with the key to change."""
        named = self._config.columns
        counted_from_1 = self._lowest >= 1 and self._highest <= self._most_options
        enough = self._numbers >= _ENOUGH or self._highest == self._most_options
        if self._numbers and named.first == 0 and counted_from_1 and enough:
            yield (
                f"all {self._numbers} answers are numbers from {self._lowest} to {self._highest}, "
                f"and none is 0, with up to {self._most_options} options; set columns.first=1 if "
                "they are counted from 1"
            )
        if self._marked:
            yield (
                f"the options of {self._marked} of {self._samples} samples begin with marks such "
                "as 'A)'; set columns.strip_marks in the format 'columns' to remove them"
            )
        if self._answers_marked:
            yield (
                f"{self._answers_marked} of {self._samples} answers contain {_ANSWER_MARK!r}; set "
                f"columns.answer_after={_ANSWER_MARK!r} in the format 'columns' if it precedes the "
                "final answer"
            )
        if isinstance(self._config, BenchmarkConfig):
            return  # has no use for explanations
        for kind, count in self.placeholders.items():
            advice = (
                "they are left out"
                if self._config.drop_placeholders
                else "set drop_placeholders to leave them out"
            )
            yield (
                f"{count} of {self._explanations[kind]} explanations of the kind {kind} are "
                f"placeholders such as {self._example!r}; {advice}"
            )
