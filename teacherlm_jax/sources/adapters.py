"""Conversion of a raw row to a sample, with one adapter for each format of rows."""

import re
from collections.abc import Callable
from typing import Any

from teacherlm_jax.config import ColumnsConfig
from teacherlm_jax.data.sample import (
    LETTERS,
    SENTENCE_ENDS,
    Sample,
    SampleError,
    from_row,
    id_text,
    kind_of,
    resolve_answer,
    whole_number,
    without_nan,
)
from teacherlm_jax.sources import mmlu_files, muffin, p3
from teacherlm_jax.sources.columns import PartialRow, RawRow, from_columns

_OPTIONS_HEADING = re.compile(r"\n\s*Options:[ \t]*\n")
_DASHED = re.compile(r"- (.*\S)\s*")
_LETTERED = re.compile(r"\(([A-Z])\)\s*(.*\S)\s*")

CREAK_ASKS = "Determine the correctness of the following sentence."  # before a statement of CREAK
FACTS_END = "Given these facts above,"  # after the facts of StrategyQA, before the question


def to_sample(
    format: str,
    row: RawRow,
    *,
    source: str,
    line: int,
    subject: str = "",
    file: str = "",
    named: ColumnsConfig | None = None,
    prompt: str = "",
) -> Sample:
    """Return one raw row as a sample.

    Args:
        format: a key of FORMATS.
        row: the row's values by name.
        source: name of the dataset; the sample's `source` if the row has none.
        line: line or number of the row, for the ids of rows without one.
        subject: subject of rows without one.
        file: file name, which distinguishes the same line of several files in such ids.
        named: names of the columns, for the format "columns".
        prompt: name of the prompt, for the format "muffin".

    NaN counts as null in every format. Raises SampleError with the reason if the row is not a
    sample.
    """
    settings = {"columns": (named or ColumnsConfig(),), "muffin": (prompt,)}.get(format, ())
    cleaned = without_nan(row)
    if isinstance(row, PartialRow):
        cleaned = PartialRow(cleaned, row.columns)
    values = FORMATS[format](*settings, cleaned)
    location = "-".join(part for part in (source, file, str(line)) if part)
    for key, default in (("id", location), ("source", source), ("subject", subject)):
        if values.get(key) in (None, ""):
            values[key] = default
    return from_row(values)


def _cot(row: RawRow) -> dict[str, Any]:
    """Question, answer and, if present, a human chain of thought; options follow "Options:"."""
    parts = _OPTIONS_HEADING.split(_text(row, "question"))
    if len(parts) > 2:
        raise SampleError("more than one block of options in the question")
    values = {
        "question": parts[0].strip(),
        "answer": _text(row, "answer"),
        "explanations": _by_human(row.get("cot")),
    }
    if len(parts) == 2:
        values["options"] = _option_lines(parts[1])
    return values


def _option_lines(block: str) -> list[str]:
    """Return options written "- text" or "(A) text", one per line, with letters in order."""
    options = []
    for line in block.strip().splitlines():
        if dashed := _DASHED.fullmatch(line):
            options.append(dashed[1])
        elif (lettered := _LETTERED.fullmatch(line)) and lettered[1] in LETTERS[len(options) :][:1]:
            options.append(lettered[2])
        else:
            raise SampleError("a line after 'Options:' in the question is not an option")
    return options


def _creak(row: RawRow) -> dict[str, Any]:
    """CREAK: sentences that are true or false; an explanation, if present, is by a human."""
    label = _truth(row, "label")
    return {
        "id": row.get("ex_id"),
        "question": f"{CREAK_ASKS} {_text(row, 'sentence')}",
        "options": ["True", "False"],
        "answer": "(A)" if label else "(B)",
        "explanations": _by_human(row.get("explanation")),
    }


def _ecqa(row: RawRow) -> dict[str, Any]:
    """ECQA: common-sense questions with five options; the answer is an option's text."""
    options = [_text(row, f"q_op{number}") for number in range(1, 6)]
    return {
        "id": row.get("q_no"),
        "question": _text(row, "q_text"),
        "options": options,
        "answer": _by_text(_text(row, "q_ans"), options),
        "explanations": _by_human(row.get("taskB")),
    }


def _strategyqa(row: RawRow) -> dict[str, Any]:
    """StrategyQA as the authors prompt it: the gold facts, then the question in lower case."""
    facts = row.get("facts")
    if not isinstance(facts, list) or not all(isinstance(fact, str) for fact in facts):
        raise SampleError("facts are not a list of texts")
    stated = " ".join(f"Fact {number}: {fact}" for number, fact in enumerate(facts, start=1))
    fields = _strategyqa_without_facts(row)
    question = f"{stated} {FACTS_END} {fields['question'].lower()}"
    return fields | {"question": question}


def _strategyqa_without_facts(row: RawRow) -> dict[str, Any]:
    """StrategyQA's question alone; in the authors' rows its key begins with "origin_"."""
    prefix = "origin_" if "origin_question" in row else ""
    answer = _truth(row, f"{prefix}answer")
    return {
        "id": row.get("qid"),
        "question": _text(row, f"{prefix}question").strip(),
        "options": ["True", "False"],
        "answer": "(A)" if answer else "(B)",
    }


def _mmlu(row: RawRow) -> dict[str, Any]:
    """MMLU: the question on one line with punctuation at its end, and the subject without "_"."""
    question = _text(row, "question").replace("\n", " ").strip()
    if not question.endswith(SENTENCE_ENDS):
        question += "."
    choices = row.get("choices")
    if choices is None and all(letter in row for letter in mmlu_files.LETTERS):
        choices = [row[letter] for letter in mmlu_files.LETTERS]
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise SampleError("choices are not a list of texts")
    answer = row.get("answer")
    number = whole_number(answer)
    if number is not None and 0 <= number < len(choices):
        answer = LETTERS[number]
    subject = _text(row, "subject")
    index = id_text(row.get("idx"))
    return {
        "id": None if index is None else f"{subject}-{index}",
        "subject": subject.replace("_", " "),
        "question": question,
        "options": [choice.replace("\n", " ") for choice in choices],
        "answer": f"({answer})",
    }


# Functions of a row that return the fields of a sample for `from_row`. Those of "columns" and
# "muffin" take a setting of the source before the row.
FORMATS: dict[str, Callable[..., dict[str, Any]]] = {
    "sample": dict,
    "columns": from_columns,
    "cot": _cot,
    "creak": _creak,
    "ecqa": _ecqa,
    "strategyqa": _strategyqa,
    "strategyqa_without_facts": _strategyqa_without_facts,
    "mmlu": _mmlu,
    "p3": p3.to_fields,
    "muffin": muffin.to_fields,
}


def _text(row: RawRow, key: str) -> str:
    if key not in row:
        raise SampleError(f"no {key}")
    if not isinstance(row[key], str):
        raise SampleError(f"{key} is {kind_of(row[key])}, expected text")
    return row[key]


def _truth(row: RawRow, key: str) -> bool:
    """Return a boolean value, which may also be the text "true" or "false" in any case."""
    if key not in row:
        raise SampleError(f"no {key}")
    value = str(row[key]).lower() if isinstance(row[key], bool | str) else ""
    if value not in ("true", "false"):
        raise SampleError(f"{key} {row[key]!r} is neither 'true' nor 'false'")
    return value == "true"


def _by_human(explanation: Any) -> dict[str, dict[str, Any]]:
    """Return a chain of thought by a human; nothing if it is missing, null or empty."""
    return {} if explanation in (None, "") else {"cot": {"human": explanation}}


def _by_text(answer: str, options: list[str]) -> str:
    """Return the letter of an answer that is an option's text, even if that text is a letter.

    If a question lists an option twice, the last one counts, as in the authors' rows.
    """
    indices = [index for index, option in enumerate(options) if option == answer]
    return f"({LETTERS[indices[-1]]})" if indices else resolve_answer(answer, options)
