"""Engine that prepares data on Beam workers, which exchange results through the scratch folder.

Workers only read and write files. They receive paths, so every worker must see the run folder, the
sources and the vocabulary under the same paths.
"""

import dataclasses
import functools
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.data.sample import Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs import layout
from teacherlm_jax.sources.duplicates import Questions
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks import chunks
from teacherlm_jax.tasks.beam import Beam
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

_Target = tuple[Path, chunks.Rendering]  # folder for the chunks of one task, and how to render them
_SurveyWork = tuple[Path, SourceConfig, bool]  # scratch folder, source, whether to keep its samples
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
            folder = self._written(self._work.source(role, index))
            return _read_survey(folder, sources[role][index], refused)

        return read

    def encode(self, tasks: Sequence[TextTask], vocabulary: Vocabulary) -> ChunksOf:
        """Encode the texts of all tasks, except chunks that an earlier run has left.

        The samples of each source are read once for all its tasks.
        """
        by_source: dict[tuple[str, bool], list[TextTask]] = {}
        for task in tasks:
            if not all(map(Path.exists, self._chunk_files(task))):
                key = (task.source.config.name, task.rendering.mixture.checked_only)
                by_source.setdefault(key, []).append(task)
        if by_source:
            errors = self._work.path / "errors"
            stage = functools.partial(_encode, vocabulary=self._share(vocabulary))
            stages = (_Guarded(_read, errors), _Guarded(stage, errors))
            self._beam.run("encode", map(self._read_work, by_source.values()), stages)
            _raise_first(errors)
        for task in tasks:
            for path in self._chunk_files(task):
                self._written(path)
        return lambda task: map(chunks.load_chunk, self._chunk_files(task))

    def _read_work(self, tasks: Sequence[TextTask]) -> _ReadWork:
        targets = tuple((self._work.tasks / task.name, task.rendering) for task in tasks)
        return tasks[0].source, tasks[0].rendering.mixture.checked_only, targets

    def _chunk_files(self, task: TextTask) -> list[Path]:
        count = -(-task.source.samples // chunks.SIZE)
        return [_chunk_file(self._work.tasks / task.name, number) for number in range(count)]

    def _share(self, vocabulary: Vocabulary) -> tuple[Path, str]:
        """Save a copy that workers can open; return its folder and digest."""
        folder = self._work.path / layout.VOCABULARY
        vocabulary.save(folder)
        return folder, vocabulary.digest

    def _written(self, path: Path) -> Path:
        """Return a path that workers wrote; raise UserError if this process does not see it."""
        if not path.exists():
            raise UserError(
                f"{path}: {self._beam.runner} finished but did not write it; config.output must be "
                "a folder that all workers see under the same path"
            )
        return path


def _survey(
    work: _SurveyWork, settings: SurveySettings, vocabulary: tuple[Path, str] | None
) -> Iterator[None]:
    """Survey a source into its scratch folder, with the vocabulary that workers open."""
    folder, config, keep = work
    if vocabulary:
        settings = dataclasses.replace(settings, vocabulary=_vocabulary(*vocabulary))
    folder.mkdir(parents=True, exist_ok=True)
    refused = RefusedRows(folder / layout.REFUSED)
    try:
        source, questions = survey_source(config, settings, refused, folder, keep=keep)
    except UserError as error:
        files.write_json(folder / _ERROR, str(error))
        return
    finally:
        refused.close()
    content = io.BytesIO()
    questions.save(content)
    files.write_bytes(folder / _QUESTIONS, content.getvalue())
    files.write_json(folder / _SOURCE, source.to_json())
    yield from ()


def _read_survey(folder: Path, config: SourceConfig, refused: RefusedRows) -> Surveyed:
    """Return what `_survey` wrote, and move its refused rows to `refused`."""
    if (folder / layout.REFUSED).exists():
        with (folder / layout.REFUSED).open(encoding="utf-8") as lines:
            for entry in map(json.loads, lines):
                refused.refuse(entry["file"], entry["line"], entry["reason"], entry["row"])
    if (folder / _ERROR).exists():
        message = files.read_json(folder / _ERROR)
        raise UserError(message.replace(str(folder / layout.REFUSED), str(refused.path)))
    with (folder / _QUESTIONS).open("rb") as file:
        questions = Questions.load(file)
    source = SurveyedSource.from_json(config, folder, files.read_json(folder / _SOURCE))
    return source, questions


def _read(work: _ReadWork) -> Iterator[_EncodeWork]:
    """Read the samples of a source, and yield those whose texts are missing in some task."""
    source, checked_only, targets = work
    for number, samples in enumerate(chunks.chunked(source.read(checked_only))):
        missing = tuple(target for target in targets if not _chunk_file(target[0], number).exists())
        if missing:
            yield missing, number, samples


def _encode(work: _EncodeWork, vocabulary: tuple[Path, str]) -> Iterator[None]:
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
    errors: Path

    def __call__(self, element: Any) -> Iterator[Any]:
        try:
            yield from self.stage(element)
        except UserError as error:
            name = hashlib.sha256(str(error).encode()).hexdigest()
            files.write_json(self.errors / f"{name}.json", str(error))


def _raise_first(errors: Path) -> None:
    """Raise one of the UserErrors that workers wrote, if there are any, and remove them all."""
    for path in sorted(errors.glob("*.json")):
        message = files.read_json(path)
        shutil.rmtree(errors)
        raise UserError(message)


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:06d}.npz"


@functools.cache
def _vocabulary(folder: Path, digest: str) -> Vocabulary:
    """Open a worker's vocabulary once; another one in the same folder has another digest."""
    del digest
    return Vocabulary.load(folder)
