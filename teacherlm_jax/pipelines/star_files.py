"""Files of a STaR run: they are read and written here, and `star_rows` decides about the rows."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from teacherlm_jax.annotation.gates.gates import require_usable
from teacherlm_jax.config import SourceConfig, StarConfig
from teacherlm_jax.data.sample import Sample, from_row, to_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.rank import wilson_interval
from teacherlm_jax.pipelines import star_rows
from teacherlm_jax.pipelines.star_rows import FILTERED, RATIONALIZED, Judgement
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.sources.reading import read_samples
from teacherlm_jax.sources.usable_rows import Check
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.wording import counted

_PROVENANCE = ("step", "model_digest", "prompt_version", "seed", "sampling", "dtype")


@dataclasses.dataclass(frozen=True)
class StarFolder:
    """Names in the folder of a run.

    Attributes:
        output: the folder.
    """

    output: epath.PathLike

    def of_round(self, number: int) -> epath.Path:
        """Return the folder of a round."""
        return StoragePath(self.output) / f"round-{number}"

    def samples(self, dataset: str) -> epath.Path:
        """Return the file of a dataset: explained, questions or test."""
        return StoragePath(self.output) / layout.SAMPLES / f"{dataset}.jsonl"

    def masked(self, dataset: str) -> epath.Path:
        """Return the file of a dataset without its answers."""
        return StoragePath(self.output) / layout.SAMPLES / f"{dataset}.masked.jsonl"


def read_datasets(config: StarConfig, run: Run) -> None:
    """Copy the three datasets into the run, in the sample format, and those without answers.

    Rows that cannot be used go to `refused.jsonl`, also those of the seed set whose chain of
    thought states another answer or states one before its end. Raises UserError for a dataset
    without usable rows, for a seed set without chains of thought by the author, and for a gate that
    cannot judge a sample.
    """
    refused = RefusedRows(run.path / layout.REFUSED)
    try:
        conclusive = functools.partial(star_rows.require_conclusive, author=config.author)
        explained = _read(config, config.explained, refused, run, conclusive)
        questions = _read(config, config.questions, refused, run)
        test = _read(config, config.test, refused, run)
    finally:
        refused.close()
        refused.report(run.log)
    if not any(sample.explanation(star_rows.KIND, config.author) for sample in explained):
        raise UserError(
            f"{config.explained.path}: no sample has a chain of thought (cot) by {config.author!r};"
            " set config.author to the author of the seed set's explanations"
        )
    require_usable(config.gates, questions)
    _warn_of_contamination(questions, explained, test, run)
    here = StarFolder(run.path)
    files.write_jsonl(here.samples("explained"), map(to_row, explained))
    files.write_jsonl(here.samples("questions"), (to_row(star_rows.hinted(s)) for s in questions))
    files.write_jsonl(here.masked("questions"), (to_row(star_rows.masked(s)) for s in questions))
    files.write_jsonl(here.masked("test"), (to_row(star_rows.masked(s)) for s in test))
    files.write_jsonl(here.samples("test"), (to_row(star_rows.hinted(s)) for s in test))


def _read(
    config: StarConfig,
    source: SourceConfig,
    refused: RefusedRows,
    run: Run,
    usable: Check | None = None,
) -> list[Sample]:
    samples = list(
        read_samples(source, config.root, refused, usable=usable, seed=config.seed, log=run.log)
    )
    run.log.info("%s: %s", source.name, counted(len(samples), "sample"))
    return samples


def _warn_of_contamination(
    questions: Iterable[Sample], explained: Iterable[Sample], test: Iterable[Sample], run: Run
) -> None:
    trained = {star_rows.masked(sample).question for sample in (*questions, *explained)}
    both = [sample.id for sample in test if star_rows.masked(sample).question in trained]
    if both:
        run.log.warning(
            "%d held-out questions also appear in the training data (contamination), for example "
            "%s; remove them",
            *(len(both), both[0]),
        )


def filter_attempts(config: StarConfig, number: int, run: Run) -> None:
    """Write the explanations of right answers, and the questions without one."""
    here = StarFolder(run.path).of_round(number)
    kept, wrong = [], []
    for sample, row, judgement in _judged(config, number, "attempts", "questions"):
        if judgement.kept:
            kept.append(star_rows.kept_row(sample, judgement, FILTERED, number, row))
        else:
            wrong.append(to_row(star_rows.hinted(sample)))
    files.write_jsonl(here / layout.FILTERED, kept)
    files.write_jsonl(here / layout.WRONG, wrong)


def write_examples(config: StarConfig, number: int, run: Run) -> None:
    """Write all kept explanations, in the order of the questions, and the training examples."""
    folder, here = StarFolder(config.output), StarFolder(run.path).of_round(number)
    explained = map(from_row, _rows(folder.samples("explained")))
    kept: list[dict[str, Any]] = []
    if number:
        by_id = {row["id"]: row for row in _rows(folder.of_round(number) / layout.FILTERED)}
        by_id |= {row["id"]: row for row in _rationalized(config, number)}
        ids = (row["id"] for row in _rows(folder.samples("questions")))
        kept = [by_id[id] for id in ids if id in by_id]
        files.write_jsonl(here / layout.KEPT, kept)
    examples = star_rows.training_rows(explained, config.author, map(from_row, kept))
    files.write_jsonl(here / layout.EXAMPLES, examples)


def _rationalized(config: StarConfig, number: int) -> Iterator[dict[str, Any]]:
    for sample, row, judgement in _judged(config, number, "rationalizations", "questions"):
        if judgement.kept:
            yield star_rows.kept_row(sample, judgement, RATIONALIZED, number, row)


def write_round(config: StarConfig, number: int, run: Run) -> None:
    """Write the counts of a round, and the accuracy of its model."""
    folder = StarFolder(config.output)
    tested = [judgement for *_, judgement in _judged(config, number, "test", "test")]
    right = sum(judgement.right for judgement in tested)
    figures: dict[str, Any] = {"round": number}
    if number:
        before = files.read_json(folder.of_round(number - 1) / layout.ROUND)
        for name in ("attempts", "rationalizations"):
            judged = (one for *_, one in _judged(config, number, name, "questions"))
            figures[name] = star_rows.counts(judged)
        figures["kept"] = sum(1 for _ in _rows(folder.of_round(number) / layout.KEPT))
        figures["accuracy_before"] = before["accuracy"]
    figures["accuracy"] = right / len(tested)
    figures["interval"] = list(wilson_interval(right, len(tested)))
    figures["test"] = star_rows.counts(tested)
    files.write_json(StarFolder(run.path).of_round(number) / layout.ROUND, figures)
    run.log.info("%s", round_line(figures))


def round_line(figures: Mapping[str, Any]) -> str:
    """Return the figures of a round on one line."""
    accuracy = f"accuracy {figures['accuracy']:.1%}"
    if not figures["round"]:
        return f"round 0: {accuracy}"
    attempts, others = figures["attempts"], figures["rationalizations"]
    return (
        f"round {figures['round']}: {accuracy}; kept {figures['kept']} of {attempts['texts']}: "
        f"{attempts['kept']} filtered, {others['kept']} rationalized"
    )


def read_rounds(config: StarConfig) -> list[dict[str, Any]]:
    """Return the figures of all rounds."""
    folder = StarFolder(config.output)
    return [
        files.read_json(folder.of_round(number) / layout.ROUND)
        for number in range(config.rounds + 1)
    ]


def _judged(
    config: StarConfig, number: int, name: str, dataset: str
) -> Iterator[tuple[Sample, dict[str, Any], Judgement]]:
    """Yield the samples of a dataset that a step explained, with provenance and judgement."""
    folder = StarFolder(config.output)
    texts = folder.of_round(number) / name / layout.SAMPLES
    written = {
        row["id"]: row
        for part in (sorted(files.names(texts)) if files.is_folder(texts) else ())
        for row in _rows(texts / part)
    }
    for row in _rows(folder.samples(dataset)):
        if row["id"] in written:
            sample, explained = from_row(row), written[row["id"]]
            annotation = explained["annotations"][star_rows.KIND]
            text = explained["explanations"][star_rows.KIND][star_rows.AUTHOR]
            provenance = {key: annotation[key] for key in _PROVENANCE}
            reason = annotation["finish_reason"]
            yield sample, provenance, star_rows.judge(sample, text, reason, config.gates)


def _rows(path: epath.Path) -> Iterator[dict[str, Any]]:
    for _, row in files.read_jsonl(path):
        assert isinstance(row, dict), f"{path}: a damaged line"
        yield row
