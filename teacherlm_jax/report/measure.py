"""What a data set consists of: rows, options, and tokens of its fields, of samples or packed rows.

Tokens are those of the pieces that training texts are made of (`data.prompts`): a question with its
options and the words around them, an answer, an explanation with the space before it.
"""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from teacherlm_jax.data import prompts
from teacherlm_jax.data.packing import PackedRow
from teacherlm_jax.data.prepared import Prepared
from teacherlm_jax.data.sample import LETTERS, Sample
from teacherlm_jax.tokenization.vocabulary import Vocabulary

QUESTION, ANSWER, TEXT = ("question", ""), ("answer", ""), ("text", "")

Field = tuple[str, str]  # what it is, and the author of an explanation

_BATCH = 1024  # samples whose texts are tokenised at once
_BARS = 48  # of a histogram
_LETTER = re.compile(r"\(([A-Z])\) ")
_CHOICE = " A: The answer is ("  # ends what is asked where there are options


@dataclasses.dataclass
class DataStatistics:
    """One data set, or one source of it.

    Attributes:
        name: of the source or the mixture.
        rows: samples, or packed texts.
        options: how many rows have how many options; 0 for free text.
        lengths: how many texts of a field have how many tokens.
        means: mean tokens by field where they are known without the lengths.
    """

    name: str
    rows: int = 0
    options: Counter[int] = dataclasses.field(default_factory=Counter)
    lengths: dict[Field, Counter[int]] = dataclasses.field(default_factory=dict)
    means: dict[Field, float] = dataclasses.field(default_factory=dict)

    def add(self, field: Field, tokens: int) -> None:
        """Counts one text of a field."""
        self.lengths.setdefault(field, Counter())[tokens] += 1

    def mean(self, field: Field) -> float | None:
        """Mean tokens of a field; None where the data has none."""
        if field in self.means:
            return self.means[field]
        found = self.lengths.get(field)
        return mean(found) if found else None


def mean(lengths: Counter[int]) -> float:
    """Of how many texts have how many tokens, the mean of the tokens."""
    return sum(size * texts for size, texts in lengths.items()) / lengths.total()


def of_samples(samples: Iterable[Sample], vocabulary: Vocabulary) -> list[DataStatistics]:
    """Each source of the samples, in the order in which they come."""
    found: dict[str, DataStatistics] = {}
    rest = iter(samples)
    while batch := list(itertools.islice(rest, _BATCH)):
        fields = [(sample, field, text) for sample in batch for field, text in _fields(sample)]
        sizes = map(len, vocabulary.encode_batch([text for *_, text in fields]))
        for sample in batch:
            source = found.setdefault(sample.source, DataStatistics(sample.source))
            source.rows += 1
            source.options[len(sample.options)] += 1
        for (sample, field, _), size in zip(fields, sizes, strict=True):
            found[sample.source].add(field, size)
    return list(found.values())


def _fields(sample: Sample) -> Iterator[tuple[Field, str]]:
    question, answer = prompts.pieces(sample, "text", "")[:2]
    yield QUESTION, question.text
    yield ANSWER, answer.text
    for kind, texts in sample.explanations.items():
        for author, text in texts.items():
            if text.strip():
                yield (kind, author), f" {text.strip()}"


def of_rows(data: Prepared) -> DataStatistics:
    """A prepared mixture. Its rows tell lengths and options, its manifest author and means.

    Texts that were cut without their beginning count as free text, and in the lengths with what
    is left of them; the manifest's means are of whole texts.
    """
    manifest, vocabulary, reader = data.manifest, data.vocabulary, data.reader()
    author = manifest["inputs"]["mixture"]["author"]
    forms = {task.rpartition("/")[2] for task in manifest["tasks"]}
    written = {kind for form in forms for kind in prompts.FORMS[form]}
    triggers = {  # in texts of other forms they are words of a question
        kind: np.array(vocabulary.encode(f" {trigger}"), np.int32).tobytes()
        for kind, trigger in prompts.TRIGGERS.items()
        if kind in written
    }
    found = DataStatistics(manifest["mixture"], means=_means(manifest))
    for number in range(reader.rows):
        for tokens in _texts(reader.row(number)):
            found.rows += 1
            found.add(TEXT, len(tokens))
            asked, explanations = _parted(tokens[:-1], triggers)
            found.options[_options(vocabulary.decode(asked.tolist()))] += 1
            for kind, size in explanations:
                found.add((kind, author), size)
    return found


def of_sources(manifest: Mapping[str, Any]) -> list[DataStatistics]:
    """The sources of a prepared mixture, as far as its manifest tells of them: texts and means.

    A source in several forms counts with all its texts. Manifests from before there were figures
    by task tell of none.
    """
    found: dict[str, DataStatistics] = {}
    counts: dict[tuple[str, Field], int] = {}
    for task, by_field in manifest.get("statistics", {}).get("tokens_by_task", {}).items():
        name = task.rpartition("/")[0]
        source = found.setdefault(name, DataStatistics(name))
        source.rows += manifest["tasks"].get(task, {"texts": 0})["texts"]
        for field, figures in _figures(by_field):
            before, more = counts.get((name, field), 0), figures["count"]
            sum_before = source.means.get(field, 0.0) * before
            source.means[field] = (sum_before + figures["mean"] * more) / (before + more)
            counts[name, field] = before + more
    return list(found.values())


def _means(manifest: Mapping[str, Any]) -> dict[Field, float]:
    # absent from what was prepared before there were any
    by_field = manifest.get("statistics", {}).get("tokens_by_field", {})
    return {field: figures["mean"] for field, figures in _figures(by_field)}


def _figures(by_field: Mapping[str, Any]) -> Iterator[tuple[Field, Mapping[str, Any]]]:
    """The figures of each field of a manifest; those of explanations stand there by author."""
    for name, told in by_field.items():
        by_author = {"": told} if (name, "") in (QUESTION, ANSWER) else told
        for author, figures in by_author.items():
            yield (name, author), figures


def _texts(row: PackedRow) -> list[np.ndarray]:
    sizes = np.bincount(row.segment_ids)[1:]
    return np.split(row.tokens[: sizes.sum()], np.cumsum(sizes)[:-1])


def _parted(
    tokens: np.ndarray, triggers: Mapping[str, bytes]
) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Tokens before the first trigger, and the kinds of the explanations with their lengths.

    Every piece was tokenised alone, so a trigger's tokens stand there as they are.
    """
    content, width = tokens.tobytes(), tokens.itemsize
    places = {kind: _find(content, trigger, width) for kind, trigger in triggers.items()}
    found = sorted(
        (at // width, (at + len(triggers[kind])) // width, kind)
        for kind, at in places.items()
        if at >= 0
    )
    starts = [start for start, *_ in found]
    ends = [*starts, len(tokens)][1:]
    asked = tokens[: starts[0]] if starts else tokens
    return asked, [(kind, end - at) for (_, at, kind), end in zip(found, ends, strict=True)]


def _find(content: bytes, part: bytes, width: int) -> int:
    """Where `part` first stands in `content`, both numbers of `width` bytes; -1 if nowhere."""
    at = content.find(part)
    while at >= 0 and at % width:
        at = content.find(part, at + 1)
    return at


def _options(text: str) -> int:
    """How many options the text of a question and its answer has."""
    question, asked, _ = text.rpartition(_CHOICE)
    if not asked:
        return 0
    wanted = 0
    for letter in _LETTER.findall(f"{question} "):
        wanted += letter == LETTERS[wanted : wanted + 1]
    return wanted


def options_text(options: Counter[int]) -> str:
    """Numbers of options as a cell of a table: `5`, `2 and 5`, `2 to 9`, with – for free text."""
    numbers = sorted(number for number in options if number)
    if not numbers:
        return "–"
    shown = (
        f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 2 else " and ".join(map(str, numbers))
    )
    return f"{shown}, –" if options[0] else shown


def fields_of(measured: Sequence[DataStatistics]) -> list[Field]:
    """All fields of some data sets but whole texts: question, answer, then kinds by author."""
    present = {field for each in measured for field in (*each.lengths, *each.means)}
    kinds = [QUESTION[0], ANSWER[0], *prompts.TRIGGERS]
    return sorted(present - {TEXT}, key=lambda field: (kinds.index(field[0]), field[1]))


def percentile(lengths: Counter[int], share: float) -> int:
    """The least number of tokens that `share` (from 0 to 1) of the texts do not exceed."""
    left = share * lengths.total()
    for size in sorted(lengths):
        left -= lengths[size]
        if left <= 0:
            break
    return size


def histogram(lengths: Counter[int], longest: int) -> tuple[list[int], list[int]]:
    """Edges and counts of bars of equal width up to `longest`; what is longer is in the last one.

    Bar i counts the texts with `edges[i] <= tokens < edges[i + 1]`.
    """
    width = -(-longest // _BARS)
    bars = longest // width + 1
    counts = [0] * bars
    for size, texts in lengths.items():
        counts[min(size // width, bars - 1)] += texts
    return [bar * width for bar in range(bars + 1)], counts
