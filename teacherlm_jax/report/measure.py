"""Statistics of a dataset of samples or packed rows: rows, options, and tokens by field.

Tokens are counted for the pieces of training texts (`data.prompts`): a question with its options
and the words around them, an answer, an explanation with the space before it.
"""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.sample import LETTERS, Sample
from teacherlm_jax.report.blocks import NO_FIGURE
from teacherlm_jax.tokenization.vocabulary import Vocabulary

QUESTION, ANSWER, TEXT = ("question", ""), ("answer", ""), ("text", "")

Field = tuple[str, str]  # kind of text, and the author of an explanation

_BATCH = 1024  # samples whose texts are tokenized at once
_BARS = 48  # of a histogram
_LETTER = re.compile(r"\(([A-Z])\) ")
_CHOICE = " A: The answer is ("  # ends a question with options


@dataclasses.dataclass
class DataStatistics:
    """Statistics of one dataset, or of one source of it.

    Attributes:
        name: name of the source or the mixture.
        rows: number of samples or of packed texts.
        options: number of rows by number of options; 0 options for free text.
        lengths: by field, the number of texts by number of tokens.
        means: mean tokens of the fields for which a manifest records them.
    """

    name: str
    rows: int = 0
    options: Counter[int] = dataclasses.field(default_factory=Counter)
    lengths: dict[Field, Counter[int]] = dataclasses.field(default_factory=dict)
    means: dict[Field, float] = dataclasses.field(default_factory=dict)

    def add(self, field: Field, tokens: int) -> None:
        """Count one text of a field."""
        self.lengths.setdefault(field, Counter())[tokens] += 1

    def mean(self, field: Field) -> float | None:
        """Return the mean tokens of a field; None if the data has no such text."""
        if field in self.means:
            return self.means[field]
        lengths = self.lengths.get(field)
        return mean(lengths) if lengths else None


def mean(lengths: Counter[int]) -> float:
    """Return the mean tokens, given the number of texts by number of tokens."""
    return sum(size * texts for size, texts in lengths.items()) / lengths.total()


def of_samples(samples: Iterable[Sample], vocabulary: Vocabulary) -> list[DataStatistics]:
    """Return the statistics of each source, in the order of the samples."""
    by_source: dict[str, DataStatistics] = {}
    rest = iter(samples)
    while batch := list(itertools.islice(rest, _BATCH)):
        fields = [(sample, field, text) for sample in batch for field, text in _fields(sample)]
        sizes = map(len, vocabulary.encode_batch([text for *_, text in fields]))
        for sample in batch:
            source = by_source.setdefault(sample.source, DataStatistics(sample.source))
            source.rows += 1
            source.options[len(sample.options)] += 1
        for (sample, field, _), size in zip(fields, sizes, strict=True):
            by_source[sample.source].add(field, size)
    return list(by_source.values())


def _fields(sample: Sample) -> Iterator[tuple[Field, str]]:
    question, answer = prompts.pieces(sample, "text", "")[:2]
    yield QUESTION, question.text
    yield ANSWER, answer.text
    for kind, texts in sample.explanations.items():
        for author, text in texts.items():
            if text.strip():
                yield (kind, author), f" {text.strip()}"


def of_rows(data: Prepared) -> DataStatistics:
    """Return the statistics of a prepared mixture.

    Lengths and options are counted in its rows; author and means are those of its manifest. Texts
    that were truncated on the left count as free text, with the length that remains; the means of
    the manifest are those of whole texts.
    """
    manifest, vocabulary, reader = data.manifest, data.vocabulary, data.reader()
    author = manifest["inputs"]["mixture"]["author"]
    forms = {task.rpartition("/")[2] for task in manifest["tasks"]}
    kinds = {kind for form in forms for kind in prompts.FORMS[form]}
    triggers = {  # in texts of other forms, the same words belong to a question
        kind: np.array(vocabulary.encode(f" {trigger}"), np.int32).tobytes()
        for kind, trigger in prompts.TRIGGERS.items()
        if kind in kinds
    }
    statistics = DataStatistics(manifest["mixture"], means=field_means(manifest))
    for number in range(reader.rows):
        for tokens in packing.texts(reader.row(number)):
            statistics.rows += 1
            statistics.add(TEXT, len(tokens))
            asked, explanations = _split(tokens[:-1], triggers)
            statistics.options[_options(vocabulary.decode(asked.tolist()))] += 1
            for kind, size in explanations:
                statistics.add((kind, author), size)
    return statistics


def of_manifest(manifest: Mapping[str, Any]) -> DataStatistics:
    """Return the number of texts and the means of a prepared mixture, without reading its rows."""
    return DataStatistics(manifest["mixture"], manifest["texts"], means=field_means(manifest))


def of_sources(manifest: Mapping[str, Any]) -> list[DataStatistics]:
    """Return the number of texts and the means of each source of a prepared mixture.

    A source in several forms counts with all its texts. Empty for manifests of earlier versions,
    which have no figures by task.
    """
    by_source: dict[str, DataStatistics] = {}
    counts: dict[tuple[str, Field], int] = {}
    for task, by_field in manifest.get("statistics", {}).get("tokens_by_task", {}).items():
        name = task.rpartition("/")[0]
        source = by_source.setdefault(name, DataStatistics(name))
        source.rows += manifest["tasks"].get(task, {"texts": 0})["texts"]
        for field, figures in _figures(by_field):
            before, more = counts.get((name, field), 0), figures["count"]
            sum_before = source.means.get(field, 0.0) * before
            source.means[field] = (sum_before + figures["mean"] * more) / (before + more)
            counts[name, field] = before + more
    return list(by_source.values())


def field_means(manifest: Mapping[str, Any]) -> dict[Field, float]:
    """Return the mean tokens of each field; empty for manifests of earlier versions."""
    by_field = manifest.get("statistics", {}).get("tokens_by_field", {})
    return {field: figures["mean"] for field, figures in _figures(by_field)}


def _figures(by_field: Mapping[str, Any]) -> Iterator[tuple[Field, Mapping[str, Any]]]:
    """Yield the figures of each field of a manifest, which lists explanations by author."""
    for name, entry in by_field.items():
        by_author = {"": entry} if (name, "") in (QUESTION, ANSWER) else entry
        for author, figures in by_author.items():
            yield (name, author), figures


def _split(
    tokens: Int32[np.ndarray, " T"], triggers: Mapping[str, bytes]
) -> tuple[Int32[np.ndarray, " _"], list[tuple[str, int]]]:
    """Return the tokens before the first trigger, and the kind and length of each explanation.

    Every piece was tokenized by itself, so a text contains the tokens of a trigger unchanged.
    """
    content, width = tokens.tobytes(), tokens.itemsize
    places = {kind: _find(content, trigger, width) for kind, trigger in triggers.items()}
    spans = sorted(
        (at // width, (at + len(triggers[kind])) // width, kind)
        for kind, at in places.items()
        if at >= 0
    )
    starts = [start for start, *_ in spans]
    ends = [*starts, len(tokens)][1:]
    asked = tokens[: starts[0]] if starts else tokens
    return asked, [(kind, end - at) for (_, at, kind), end in zip(spans, ends, strict=True)]


def _find(content: bytes, part: bytes, width: int) -> int:
    """Return the first offset of `part` in `content` that is a multiple of `width`, or -1."""
    at = content.find(part)
    while at >= 0 and at % width:
        at = content.find(part, at + 1)
    return at


def _options(text: str) -> int:
    """Return the number of options in the text of a question and its answer."""
    question, asked, _ = text.rpartition(_CHOICE)
    if not asked:
        return 0
    options = 0
    for letter in _LETTER.findall(f"{question} "):
        options += letter == LETTERS[options : options + 1]
    return options


def options_text(options: Counter[int]) -> str:
    """Return numbers of options as a table cell: `5`, `2 and 5`, `2 to 9`, – for free text."""
    numbers = sorted(number for number in options if number)
    if not numbers:
        return NO_FIGURE
    shown = (
        f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 2 else " and ".join(map(str, numbers))
    )
    return f"{shown}, {NO_FIGURE}" if options[0] else shown


def fields_of(measured: Sequence[DataStatistics]) -> list[Field]:
    """Return all fields except whole texts: question, answer, then explanations by author."""
    present = {field for dataset in measured for field in (*dataset.lengths, *dataset.means)}
    kinds = [QUESTION[0], ANSWER[0], *prompts.TRIGGERS]
    return sorted(present - {TEXT}, key=lambda field: (kinds.index(field[0]), field[1]))


def histogram(lengths: Counter[int], longest: int) -> tuple[list[int], list[int]]:
    """Return edges and counts of bars of equal width up to `longest`.

    Bar i counts the texts with `edges[i] <= tokens < edges[i + 1]`; the last one also counts longer
    texts.
    """
    width = -(-longest // _BARS)
    bars = longest // width + 1
    counts = [0] * bars
    for size, texts in lengths.items():
        counts[min(size // width, bars - 1)] += texts
    return [bar * width for bar in range(bars + 1)], counts
