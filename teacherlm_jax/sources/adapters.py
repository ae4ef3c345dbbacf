"""One raw row as a sample: a small adapter for each form in which rows come."""

import re
from collections.abc import Callable
from typing import Any

from teacherlm_jax.config import ColumnsConfig
from teacherlm_jax.data.sample import (
    LETTERS,
    Sample,
    SampleError,
    from_row,
    kind_of,
    resolve_answer,
)
from teacherlm_jax.sources import muffin, p3
from teacherlm_jax.sources.columns import RawRow, from_columns

_OPTIONS_HEADING = re.compile(r"\n\s*Options:[ \t]*\n")
_DASHED = re.compile(r"- (.*\S)\s*")
_LETTERED = re.compile(r"\(([A-Z])\)\s*(.*\S)\s*")
_SENTENCE_ENDS = (".", ",", "?", "!", '"')


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
    """One raw row as a sample.

    Args:
        format: a key of FORMATS.
        row: the row's values by name.
        source: name of the data set; becomes the sample's `source` where the row names none.
        line: its line or number; names rows that carry no id of their own.
        subject: for rows that carry none.
        file: tells apart the same line of several files, in the ids made from lines.
        named: which column holds what; the format "columns" asks for it.
        prompt: of the format "muffin", which asks for one of its own.

    Raises SampleError with the reason when the row makes no sample.
    """
    told = {"columns": (named or ColumnsConfig(),), "muffin": (prompt,)}.get(format, ())
    made = FORMATS[format](*told, row)
    place = "-".join(part for part in (source, file, str(line)) if part)
    for key, default in (("id", place), ("source", source), ("subject", subject)):
        made[key] = made.get(key) or default
    return from_row(made)


def _cot(row: RawRow) -> dict[str, Any]:
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


def _creak(row: RawRow) -> dict[str, Any]:
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


def _ecqa(row: RawRow) -> dict[str, Any]:
    """ECQA: common-sense questions with five options, the answer given by its text."""
    options = [_text(row, f"q_op{number}") for number in range(1, 6)]
    return {
        "id": row.get("q_no"),
        "question": _text(row, "q_text"),
        "options": options,
        "answer": _by_text(_text(row, "q_ans"), options),
        "explanations": _by_human(row.get("taskB", "")),
    }


def _strategyqa(row: RawRow) -> dict[str, Any]:
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


def _mmlu(row: RawRow) -> dict[str, Any]:
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


# From a row to what `from_row` makes a sample of. Two take what else a source tells before it.
FORMATS: dict[str, Callable[..., dict[str, Any]]] = {
    "sample": dict,
    "columns": from_columns,
    "cot": _cot,
    "creak": _creak,
    "ecqa": _ecqa,
    "strategyqa": _strategyqa,
    "mmlu": _mmlu,
    "p3": p3.to_fields,
    "muffin": muffin.to_fields,
}


def _text(row: RawRow, key: str) -> str:
    if key not in row:
        raise SampleError(f"no {key}")
    if not isinstance(row[key], str):
        raise SampleError(f"{key} is not text but {kind_of(row[key])}")
    return row[key]


def _by_human(explanation: str) -> dict[str, dict[str, str]]:
    return {"cot": {"human": explanation}} if explanation else {}


def _by_text(answer: str, options: list[str]) -> str:
    """The letter of an answer that is given by its text alone, even where that text is a letter.

    A few questions list one option twice; the authors' rows then give the last of them.
    """
    places = [place for place, option in enumerate(options) if option == answer]
    return f"({LETTERS[places[-1]]})" if places else resolve_answer(answer, options)
