"""Rows of a dataset, from the samples of a finished `annotate` run."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.config import DatasetConfig
from teacherlm_jax.data import prompts
from teacherlm_jax.data.sample import KINDS, Sample, SampleError, from_row, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.sources.explanation_filters import without_failed
from teacherlm_jax.storage import files

_FORM_OF_KIND = {kinds[0]: form for form, kinds in prompts.FORMS.items() if len(kinds) == 1}


@dataclasses.dataclass(frozen=True)
class ExplainedRun:
    """A finished `annotate` run.

    Attributes:
        path: its folder.
        config: its config as JSON.
        result: content of its result.json.
    """

    path: epath.Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in order; raise UserError for a row or file that is damaged."""
        count = 0
        folder = self.path / layout.SAMPLES
        for name in files.names(folder):
            if not name.endswith(".jsonl"):
                continue
            for line, row in files.read_jsonl(folder / name):
                yield _sample(folder / name, line, row)
                count += 1
        if count != self.result["rows"]:
            raise UserError(
                f"{folder}: {count} samples, but {layout.RESULT} of the run says "
                f"{self.result['rows']}; copy the run again, or repeat its `annotate` command"
            )


def open_explained(path: epath.Path) -> ExplainedRun:
    """Open an `annotate` run; raise UserError unless it has finished."""
    result = files.read_json_if_any(path / layout.RESULT)
    if result is None:
        raise UserError(
            f"{path}: this `annotate` run has not finished, because it has no {layout.RESULT}; "
            "repeat its command first"
        )
    recorded = files.read_json(path / layout.CONFIG)
    return ExplainedRun(path, recorded["config"], result)


def _sample(path: epath.Path, line: int, row: Mapping[str, Any] | files.MalformedRow) -> Sample:
    try:
        if isinstance(row, files.MalformedRow):
            raise SampleError(row.reason)
        return from_row(row)
    except SampleError as error:
        raise UserError(
            f"{path}:{line}: {error}; restore the file, or remove it and repeat the `annotate` "
            "command"
        ) from None


class RowWriter:
    """Converts samples to rows of a dataset.

    Attributes:
        missing: numbers of rows that were left out, by reason, such as "no cot by teacher".
        prompt_versions: versions of the prompts in the samples' annotations.
    """

    def __init__(self, run: ExplainedRun, config: DatasetConfig):
        self._config, self._run = config, run
        written = [kind for kind in KINDS if kind in run.result["kinds"]]
        self._forms = config.forms or tuple(_FORM_OF_KIND[kind] for kind in written)
        self.missing: Counter[str] = Counter()
        self.prompt_versions: set[str] = set()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield all rows of the run."""
        for sample in self._run.samples():
            versions = (note.get("prompt_version") for note in sample.annotations.values())
            self.prompt_versions |= {str(version) for version in versions if version is not None}
            if self._config.checked_only:
                sample = without_failed(sample)
            if self._config.rows == "messages":
                yield from self._chats(sample)
            else:
                yield sample_row(sample, annotations=self._config.annotations)

    def _chats(self, sample: Sample) -> Iterator[dict[str, Any]]:
        for form in self._forms:
            try:
                chat = messages(
                    sample, form, self._run.config["author"],
                    subject_prefix=self._run.config["subject_prefix"],
                )  # fmt: skip
            except prompts.MissingExplanation as missing:
                self.missing[str(missing)] += 1
            else:
                yield {"id": sample.id, "form": form, "messages": chat}


def sample_row(sample: Sample, *, annotations: bool) -> dict[str, Any]:
    """Return a sample in the sample format, without keys and objects that only some rows have.

    Every kind has an object of explanations, and gates without a verdict are null: Arrow has no
    empty objects.
    """
    row = to_row(sample)
    row["explanations"] = {kind: row["explanations"].get(kind, {}) for kind in KINDS}
    if not annotations:
        row.pop("annotations", None)
    for annotation in row.get("annotations", {}).values():
        annotation["gates"] = annotation["gates"] or None
    return row


def messages(
    sample: Sample, form: str, author: str, *, subject_prefix: bool = False
) -> list[dict[str, str]]:
    """Return a chat: the user asks the question with its options, the assistant explains.

    The answer is that of a training text in the same form. Raises MissingExplanation if the sample
    lacks an explanation by `author`.
    """
    _, *answer = prompts.pieces(sample, form, author, subject_prefix=subject_prefix)
    question = f"{sample.question} {prompts.options_text(sample)}".strip()
    if subject_prefix and sample.subject:
        question = f"{prompts.subject_sentence(sample.subject)} {question}"
    opening = "The answer is (" if sample.options else ""
    text = opening + "".join(piece.text for piece in answer)
    return [
        {"role": "user", "content": prompts.clean(question)},
        {"role": "assistant", "content": text.strip()},
    ]
