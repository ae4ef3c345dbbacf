"""Engine that prepares data on Beam workers, which exchange results through the scratch folder.

Workers only read and write files. They receive paths, so every worker must see the run folder and
the sources under the same paths. The scratch folder `.work` is where the run folder is, on a disk
or in a bucket:

- `vocabulary/`: written by the main process, opened by every worker.
- `survey/ROLE-INDEX/`: written by the worker that surveys a source: `refused.jsonl` and the spooled
  samples, then the questions, then `source.json` or `error.json`. The main process reads all but
  the samples, which the worker that reads the source reads.
- `tasks/NAME/chunk-NUMBER.npz`: encoded texts, kept for the next run if this one does not finish.
- `errors/`: messages of workers that could not encode.
"""

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import ExplainedError, UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.beam import Beam
from teacherlm_jax.sources.duplicates import Questions
from teacherlm_jax.storage import exchange, files
from teacherlm_jax.storage.locations import is_remote
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks import chunks
from teacherlm_jax.tasks.preparation_engine import (
    KEPT,
    ChunksOf,
    ReadSurvey,
    Surveyed,
    WorkFolder,
)
from teacherlm_jax.tasks.seqio_tasks import TextTask
from teacherlm_jax.tasks.surveyed_source import SurveyedSource, SurveySettings, survey_source
from teacherlm_jax.tokenization.vocabulary import Vocabulary

# Files in a source's scratch folder; the survey ends by writing the second or the third.
_QUESTIONS, _SOURCE, _ERROR = "questions.npz", "source.json", "error.json"
_RESULTS = (layout.REFUSED, _SOURCE, _ERROR)

_Target = tuple[epath.Path, chunks.Rendering]  # folder of one task's chunks, how to render them
_SurveyWork = tuple[epath.Path, SourceConfig, bool]  # scratch folder, source, keep its samples
_ReadWork = tuple[SurveyedSource, bool, tuple[_Target, ...]]  # the flag is `checked_only`
_EncodeWork = tuple[tuple[_Target, ...], int, list[Sample]]  # the number is the chunk's


class OnBeam:
    """An engine that distributes its work over the workers of a Beam runner."""

    def __init__(self, beam: Beam, work: WorkFolder):
        self._beam = beam
        self._work = work

    def survey(
        self,
        sources: Mapping[str, Sequence[SourceConfig]],
        settings: SurveySettings,
        *,
        keep: bool,
    ) -> ReadSurvey:
        """Survey all sources at the same time; see `PreparationEngine.survey`."""
        self._work.remove_survey()
        work: list[_SurveyWork] = [
            (self._work.source(role, index), source, keep and role == KEPT)
            for role in sources
            for index, source in enumerate(sources[role])
        ]
        shared = self._share(settings.vocabulary) if settings.vocabulary else None
        plain = dataclasses.replace(settings, vocabulary=None)
        stage = functools.partial(_survey, settings=plain, vocabulary=shared)
        self._beam.run("survey", work, [stage])

        def read(role: str, index: int, refused: RefusedRows) -> Surveyed:
            folder = self._work.source(role, index)
            results = exchange.existing(folder / name for name in _RESULTS)
            self._refuse_missing(folder, results & {folder / _SOURCE, folder / _ERROR})
            return _read_survey(folder, results, sources[role][index], refused)

        return read

    def encode(self, tasks: Sequence[TextTask], vocabulary: Vocabulary) -> ChunksOf:
        """Encode the texts of all tasks, except chunks that an earlier run has left.

        The samples of each source are read once for all its tasks.
        """
        finished = exchange.existing(self._all_chunk_files(tasks))
        by_source: dict[tuple[str, bool], list[TextTask]] = {}
        for task in tasks:
            if not finished.issuperset(self._chunk_files(task)):
                key = (task.source.config.name, task.rendering.mixture.checked_only)
                by_source.setdefault(key, []).append(task)
        if by_source:
            errors = self._work.path / "errors"
            exchange.remove(errors)
            stage = functools.partial(_encode, vocabulary=self._share(vocabulary))
            stages = (_Guarded(_read, errors), _Guarded(stage, errors))
            self._beam.run("encode", map(self._read_work, by_source.values()), stages)
            _raise_first(errors)
            finished = exchange.existing(self._all_chunk_files(tasks))
        for path in self._all_chunk_files(tasks):
            self._refuse_missing(path, path in finished)
        return lambda task: exchange.read_each(chunks.load_chunk, self._chunk_files(task))

    def _read_work(self, tasks: Sequence[TextTask]) -> _ReadWork:
        targets = tuple((self._work.tasks / task.name, task.rendering) for task in tasks)
        return tasks[0].source, tasks[0].rendering.mixture.checked_only, targets

    def _chunk_files(self, task: TextTask) -> list[epath.Path]:
        return _chunk_files(self._work.tasks / task.name, task.source)

    def _all_chunk_files(self, tasks: Sequence[TextTask]) -> list[epath.Path]:
        return [path for task in tasks for path in self._chunk_files(task)]

    def _share(self, vocabulary: Vocabulary) -> tuple[epath.Path, str]:
        """Save a copy that workers can open; return its folder and digest."""
        folder = self._work.path / layout.VOCABULARY
        vocabulary.save(folder)
        return folder, vocabulary.digest

    def _refuse_missing(self, path: epath.Path, exists: object) -> None:
        """Raise UserError unless `exists`; `path` is what workers had to write."""
        if not exists:
            advice = (
                "check that the workers use the same store and account as this process"
                if is_remote(path)
                else "config.output must be in a bucket, or a folder that all workers see under "
                "the same path"
            )
            raise UserError(f"{path}: {self._beam.runner} finished but did not write it; {advice}")


def _survey(
    work: _SurveyWork, settings: SurveySettings, vocabulary: tuple[epath.Path, str] | None
) -> Iterator[None]:
    """Survey a source into its scratch folder, with the vocabulary that workers open."""
    folder, config, keep = work
    if vocabulary:
        settings = dataclasses.replace(settings, vocabulary=_vocabulary(*vocabulary))
    failure = ""
    with exchange.folder_to_write(folder) as growing:
        refused = RefusedRows(growing / layout.REFUSED)
        try:
            source, questions = survey_source(config, settings, refused, growing, keep=keep)
        except ExplainedError as error:
            failure = str(error).replace(str(growing), str(folder))
        finally:
            refused.close()
    if failure:
        files.write_json(folder / _ERROR, failure)
        return
    content = io.BytesIO()
    questions.save(content)
    files.write_bytes(folder / _QUESTIONS, content.getvalue())
    files.write_json(folder / _SOURCE, source.to_json())
    yield from ()


def _read_survey(
    folder: epath.Path, results: Container[epath.Path], config: SourceConfig, refused: RefusedRows
) -> Surveyed:
    """Return what `_survey` wrote, and copy its refused rows to `refused`."""
    if folder / layout.REFUSED in results:
        with files.opened(folder / layout.REFUSED) as lines:
            for entry in map(json.loads, lines):
                refused.refuse(entry["file"], entry["line"], entry["reason"], entry["row"])
    if folder / _ERROR in results:
        message = files.read_json(folder / _ERROR)
        raise UserError(message.replace(str(folder / layout.REFUSED), str(refused.path)))
    questions = Questions.load(io.BytesIO(files.read_bytes(folder / _QUESTIONS)))
    source = SurveyedSource.from_json(config, folder, files.read_json(folder / _SOURCE))
    return source, questions


def _read(work: _ReadWork) -> Iterator[_EncodeWork]:
    """Read the samples of a source, and yield those whose texts are missing in some task."""
    source, checked_only, targets = work
    finished = exchange.existing(
        path for folder, _ in targets for path in _chunk_files(folder, source)
    )
    for number, samples in enumerate(chunks.chunked(source.read(checked_only))):
        missing = tuple(to for to in targets if _chunk_file(to[0], number) not in finished)
        if missing:
            yield missing, number, samples


def _encode(work: _EncodeWork, vocabulary: tuple[epath.Path, str]) -> Iterator[None]:
    """Write the texts of some samples, for every task."""
    targets, number, samples = work
    for folder, rendering in targets:
        chunk = chunks.encode_chunk(samples, rendering, _vocabulary(*vocabulary))
        chunks.save_chunk(_chunk_file(folder, number), chunk)
    yield from ()


@dataclasses.dataclass(frozen=True)
class _Guarded:
    """A stage that writes the message of a UserError to a file, so that no worker fails."""

    stage: Callable[[Any], Iterator[Any]]
    errors: epath.Path

    def __call__(self, element: Any) -> Iterator[Any]:
        try:
            yield from self.stage(element)
        except ExplainedError as error:
            name = hashlib.sha256(str(error).encode()).hexdigest()
            try:
                files.write_json(self.errors / f"{name}.json", str(error))
            except ExplainedError:  # the store that the first error is about
                raise error from None


def _raise_first(errors: epath.Path) -> None:
    """Raise one of the UserErrors that workers wrote, if there are any, and remove them all."""
    for path in sorted(errors.glob("*.json")):
        message = files.read_json(path)
        exchange.remove(errors)
        raise UserError(message)


def _chunk_files(folder: epath.Path, source: SurveyedSource) -> list[epath.Path]:
    return [_chunk_file(folder, number) for number in range(-(-source.samples // chunks.SIZE))]


def _chunk_file(folder: epath.Path, number: int) -> epath.Path:
    return folder / f"chunk-{number:06d}.npz"


@functools.cache
def _vocabulary(folder: epath.Path, digest: str) -> Vocabulary:
    """Open a worker's vocabulary once; another one in the same folder has another digest."""
    del digest
    return Vocabulary.load(folder)
