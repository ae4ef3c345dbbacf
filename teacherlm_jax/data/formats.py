"""Raw data sets as samples: one small adapter for each form in which rows come."""

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax import files
from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import LETTERS, Sample, SampleError, from_row, resolve_answer
from teacherlm_jax.errors import UserError

Row = Mapping[str, Any]

_OPTIONS_HEADING = re.compile(r"\n\s*Options:[ \t]*\n")
_DASHED = re.compile(r"- (.*\S)\s*")
_LETTERED = re.compile(r"\(([A-Z])\)\s*(.*\S)\s*")
_SENTENCE_ENDS = (".", ",", "?", "!", '"')


def to_sample(
    format: str, row: Row, *, source: str, line: int, subject: str = "", file: str = ""
) -> Sample:
    """One raw row as a sample.

    Args:
        format: a key of FORMATS.
        row: the parsed JSON object.
        source: name of the data set; becomes the sample's `source` where the row names none.
        line: its line number; names rows that carry no id of their own.
        subject: for rows that carry none.
        file: tells apart the same line of several files, in the ids made from lines.

    Raises SampleError with the reason when the row makes no sample.
    """
    place = "-".join(part for part in (source, file, str(line)) if part)
    made = FORMATS[format](row)
    for key, default in (("id", place), ("source", source), ("subject", subject)):
        made[key] = made.get(key) or default
    return from_row(made)


def read_samples(
    config: SourceConfig,
    root: str,
    refused: files.RefusedRows,
    *,
    checked_only: bool = False,
    usable: Callable[[Sample], None] | None = None,
) -> Iterator[Sample]:
    """Yields the samples of a source, file by file and line by line, up to its limit.

    Rows that make no sample, rows whose id was there before, and rows whose sample `usable` raises
    SampleError for go to `refused`, with their file and line; the limit does not count them. With
    `checked_only`, explanations that failed a gate are left out of their samples (see
    `without_failed`). Raises UserError for an unknown format, no file and no usable row.
    """
    paths = _paths(config, root)
    before, seen = refused.counts.copy(), set[str]()
    for path, name in names_apart(paths).items():
        file = name if len(paths) > 1 else ""
        for line, row in files.read_jsonl(path):
            if config.limit and len(seen) == config.limit:
                return
            try:
                sample = _read(config, row, line, file, checked_only)
                if sample.id in seen:
                    raise SampleError("an earlier row has the same id")
                if usable is not None:
                    usable(sample)
            except SampleError as error:
                text = row.text if isinstance(row, files.MalformedRow) else row
                refused.add(path, line, str(error), text)
                continue
            seen.add(sample.id)
            yield sample
    if not seen:
        raise UserError(
            f"source {config.name!r}: no row of {', '.join(map(str, paths))} makes a usable sample "
            f"in the format {config.format!r}; {_why(refused, before)}"
        )


def _paths(config: SourceConfig, root: str) -> list[Path]:
    if config.format not in FORMATS:
        raise UserError(
            f"source {config.name!r}: unknown format {config.format!r}; known: {', '.join(FORMATS)}"
        )
    return files.expand(root, config.path)


def names_apart(paths: Sequence[Path]) -> dict[Path, str]:
    """What tells the files apart, wherever they lie: their paths from the folder they share."""
    shared = os.path.commonpath([path.parent for path in paths])
    return {path: path.relative_to(shared).as_posix() for path in paths}


def _why(refused: files.RefusedRows, before: Counter[str]) -> str:
    counts = refused.counts - before  # those of other sources are not this one's
    if not counts:
        return "there are no rows"
    reason, count = counts.most_common(1)[0]
    where = f"; {refused.path} has them all" if refused.path else ""
    return f"the commonest reason is {reason!r} ({count} rows){where}"


def _read(
    config: SourceConfig, row: Row | files.MalformedRow, line: int, file: str, checked_only: bool
) -> Sample:
    if isinstance(row, files.MalformedRow):
        raise SampleError(row.reason)
    sample = to_sample(
        config.format, row, source=config.name, line=line, subject=config.subject, file=file
    )
    return without_failed(sample) if checked_only else sample


def without_failed(sample: Sample) -> Sample:
    """The sample without those explanations that failed a gate, by its annotations.

    Explanations without verdicts, such as people's, stay.
    """
    explanations = dict(sample.explanations)
    for kind, made in sample.annotations.items():
        if kind in explanations and not all(made["gates"].values()):
            texts = explanations[kind]
            explanations[kind] = {name: texts[name] for name in texts if name != made["author"]}
    return dataclasses.replace(sample, explanations=explanations)


def _sample(row: Row) -> dict[str, Any]:
    return dict(row)


def _cot(row: Row) -> dict[str, Any]:
    """Question, answer and a human chain of thought; options stand as lines below "Options:"."""
    parts = _OPTIONS_HEADING.split(_text(row, "question"))
    if len(parts) > 2:
        raise SampleError("more than one block of options in the question")
    made = {
        "question": parts[0].strip(),
        "answer": _text(row, "answer"),
        "explanations": _by_human(_text(row, "cot")),
    }
    if len(parts) == 2:
        made["options"] = _option_lines(parts[1])
    return made


def _option_lines(block: str) -> list[str]:
    """Options written "- text" or "(A) text", one a line; letters have to come in order."""
    options = []
    for line in block.strip().splitlines():
        if dashed := _DASHED.fullmatch(line):
            options.append(dashed[1])
        elif (lettered := _LETTERED.fullmatch(line)) and lettered[1] in LETTERS[len(options) :][:1]:
            options.append(lettered[2])
        else:
            raise SampleError("a line below the question's options is no option")
    return options


def _creak(row: Row) -> dict[str, Any]:
    """CREAK: is the sentence true? Its explanation, where there is one, is the human's."""
    label = _text(row, "label")
    if label not in ("true", "false"):
        raise SampleError(f"label {label!r} is neither 'true' nor 'false'")
    return {
        "id": row.get("ex_id"),
        "question": "Determine the correctness of the following sentence. "
        + _text(row, "sentence"),
        "options": ["True", "False"],
        "answer": "(A)" if label == "true" else "(B)",
        "explanations": _by_human(row.get("explanation", "")),
    }


def _ecqa(row: Row) -> dict[str, Any]:
    """ECQA: common-sense questions with five options, the answer given by its text."""
    options = [_text(row, f"q_op{number}") for number in range(1, 6)]
    return {
        "id": row.get("q_no"),
        "question": _text(row, "q_text"),
        "options": options,
        "answer": _by_text(_text(row, "q_ans"), options),
        "explanations": _by_human(row.get("taskB", "")),
    }


def _strategyqa(row: Row) -> dict[str, Any]:
    """StrategyQA as the authors ask it: the gold facts first, then the question in lower case."""
    facts, answer = row.get("facts"), row.get("origin_answer")
    if not isinstance(facts, list) or not all(isinstance(fact, str) for fact in facts):
        raise SampleError("facts are no list of texts")
    if not isinstance(answer, bool):
        raise SampleError(f"origin_answer {answer!r} is neither true nor false")
    told = " ".join(f"Fact {number}: {fact}" for number, fact in enumerate(facts, start=1))
    question = _text(row, "origin_question").strip().lower()
    return {
        "id": row.get("qid"),
        "question": f"{told} Given these facts above, {question}",
        "options": ["True", "False"],
        "answer": "(A)" if answer else "(B)",
    }


def _mmlu(row: Row) -> dict[str, Any]:
    """MMLU: on one line, ending like a sentence, the subject in plain words."""
    question = _text(row, "question").replace("\n", " ").strip()
    if not question.endswith(_SENTENCE_ENDS):
        question += "."
    choices = row.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise SampleError("choices are no list of texts")
    answer = row.get("answer")
    if isinstance(answer, int) and 0 <= answer < len(LETTERS):
        answer = LETTERS[answer]
    subject = _text(row, "subject")
    return {
        "id": f"{subject}-{row['idx']}" if "idx" in row else None,
        "subject": subject.replace("_", " "),
        "question": question,
        "options": [choice.replace("\n", " ") for choice in choices],
        "answer": f"({answer})",
    }


FORMATS: dict[str, Callable[[Row], dict[str, Any]]] = {
    "sample": _sample,
    "cot": _cot,
    "creak": _creak,
    "ecqa": _ecqa,
    "strategyqa": _strategyqa,
    "mmlu": _mmlu,
}


def _text(row: Row, key: str) -> str:
    if key not in row:
        raise SampleError(f"no {key}")
    if not isinstance(row[key], str):
        raise SampleError(f"{key} is not text: {row[key]!r}")
    return row[key]


def _by_human(explanation: str) -> dict[str, dict[str, str]]:
    return {"cot": {"human": explanation}} if explanation else {}


def _by_text(answer: str, options: list[str]) -> str:
    """The letter of an answer that is given by its text alone, even where that text is a letter.

    A few questions list one option twice; the authors' rows then give the last of them.
    """
    places = [place for place, option in enumerate(options) if option == answer]
    return f"({LETTERS[places[-1]]})" if places else resolve_answer(answer, options)
