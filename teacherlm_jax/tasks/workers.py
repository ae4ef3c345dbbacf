"""What Beam's workers do of a preparation, and the folder through which it comes back.

Workers read and write files alone. They are given paths, so that folder, the sources and the
vocabulary have to be where every worker finds them under the same path.
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
from teacherlm_jax.tasks.seqio_tasks import TextTask
from teacherlm_jax.tasks.surveyed_source import Source, survey
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_QUESTIONS = "questions.npz"  # of a source, as are the others
_SOURCE, _ERROR = "source.json", "error.json"  # written last, the one or the other

Surveyed = tuple[Source, Questions]
_Task = tuple[Path, chunks.Rendering]  # where its chunks go
_Given = tuple[Path, SourceConfig, str, bool, tuple[_Task, ...]]  # part of a survey; root; tasks
_Samples = tuple[tuple[_Task, ...], int, list[Sample]]  # number of the chunk


def remove_work(output: Path) -> None:
    """Removes what workers left in a run folder, now or before an interruption, if they did."""
    if (output / layout.WORK).exists():
        shutil.rmtree(output / layout.WORK)


class Workers:
    """The workers of a runner, on the work of one run folder.

    What is tokenised stays there when the work is cut off, and is not tokenised again. Where it
    comes to nothing before that, as a check does, nothing is left.
    """

    def __init__(self, beam: Beam, output: Path):
        """Begins in `output/.work`."""
        self._beam, self._output = beam, output.absolute()
        self._folder = self._output / layout.WORK
        self._parts: dict[str, Path] = {}  # of the survey, by the name of the source

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        if not self._tasks.exists():
            remove_work(self._output)

    @property
    def _tasks(self) -> Path:
        return self._folder / "tasks"

    def survey(
        self,
        wanted: Mapping[str, Sequence[SourceConfig]],
        root: str,
        seed: int,
        vocabulary: Vocabulary | None,
    ) -> Callable[[str, int, RefusedRows], Surveyed]:
        """Surveys the sources of some roles, "sources" among them, side by side.

        Returns a function of the role and the source's number in it: it gives what `sources.survey`
        would give, refused rows and errors included.
        """
        below = self._folder / "survey"
        if below.exists():
            shutil.rmtree(below)
        parts = {
            role: [below / f"{role}-{n:05d}" for n in range(len(wanted[role]))] for role in wanted
        }
        given = [pair for role in wanted for pair in zip(parts[role], wanted[role], strict=True)]
        shared = self._shared(vocabulary) if vocabulary else None
        work = functools.partial(_survey, root=root, seed=seed, vocabulary=shared)
        self._beam.run("survey", given, [work])
        names = (source.name for source in wanted["sources"])
        self._parts = dict(zip(names, parts["sources"], strict=True))

        def read(role: str, number: int, refused: RefusedRows) -> Surveyed:
            return _read_survey(
                self._made(parts[role][number]), wanted[role][number], root, refused
            )

        return read

    def tokenise(
        self, tasks: Sequence[TextTask], vocabulary: Vocabulary
    ) -> Callable[[TextTask], Iterator[chunks.Chunk]]:
        """Encodes the texts of tasks whose sources `survey` read, but for what is there already.

        Each source is read once for all its tasks. Returns a function that gives those of a task.
        """
        left: dict[tuple[str, bool], list[TextTask]] = {}
        for task in tasks:
            if not all(map(Path.exists, self._files(task))):
                key = (task.source.config.name, task.rendering.mixture.checked_only)
                left.setdefault(key, []).append(task)
        if left:
            errors = self._folder / "errors"
            encode = functools.partial(_encode, vocabulary=self._shared(vocabulary))
            stages = (_Guarded(_read, errors), _Guarded(encode, errors))
            self._beam.run("tokenise", map(self._given, left.values()), stages)
            _raise_first(errors)
        for task in tasks:
            for path in self._files(task):
                self._made(path)
        return lambda task: map(chunks.load_chunk, self._files(task))

    def _given(self, tasks: Sequence[TextTask]) -> _Given:
        """Tasks on the samples of one source, for a worker."""
        source, rendering = tasks[0].source, tasks[0].rendering
        wanted = tuple((self._tasks / task.name, task.rendering) for task in tasks)
        part = self._parts[source.config.name]
        return part, source.config, source.root, rendering.mixture.checked_only, wanted

    def _files(self, task: TextTask) -> list[Path]:
        count = -(-task.source.samples // chunks.SIZE)
        return [_chunk_file(self._tasks / task.name, number) for number in range(count)]

    def _shared(self, vocabulary: Vocabulary) -> tuple[Path, str]:
        """A copy that workers open, and its digest."""
        vocabulary.save(self._folder / layout.VOCABULARY)
        return self._folder / layout.VOCABULARY, vocabulary.digest

    def _made(self, path: Path) -> Path:
        """The path, at which workers left something."""
        if not path.exists():
            raise UserError(
                f"{path}: not there after the work of {self._beam.runner}; config.output has to be "
                "a folder that all workers see under the same path"
            )
        return path


def _survey(
    given: tuple[Path, SourceConfig],
    root: str,
    seed: int,
    vocabulary: tuple[Path, str] | None,
) -> Iterator[None]:
    """Surveys a source into the folder `given`."""
    part, config = given
    part.mkdir(parents=True, exist_ok=True)
    refused = RefusedRows(part / layout.REFUSED)
    opened = _vocabulary(*vocabulary) if vocabulary else None
    try:
        source, questions = survey(config, root, refused, seed=seed, vocabulary=opened)
    except UserError as error:
        files.write_json(part / _ERROR, str(error))
        return
    finally:
        refused.close()
    content = io.BytesIO()
    questions.save(content)
    files.write_bytes(part / _QUESTIONS, content.getvalue())
    files.write_json(part / _SOURCE, source.to_json())
    yield from ()


def _read_survey(part: Path, config: SourceConfig, root: str, refused: RefusedRows) -> Surveyed:
    """What `_survey` left; its refused rows go to `refused`."""
    if (part / layout.REFUSED).exists():
        with (part / layout.REFUSED).open(encoding="utf-8") as lines:
            for entry in map(json.loads, lines):
                refused.refuse(entry["file"], entry["line"], entry["reason"], entry["row"])
    if (part / _ERROR).exists():
        message = files.read_json(part / _ERROR)
        raise UserError(message.replace(str(part / layout.REFUSED), str(refused.path)))
    with (part / _QUESTIONS).open("rb") as file:
        questions = Questions.load(file)
    return Source.from_json(config, root, files.read_json(part / _SOURCE)), questions


def _read(given: _Given) -> Iterator[_Samples]:
    """Reads a source, and yields the samples of which some task lacks the texts."""
    part, config, root, checked_only, tasks = given
    source = Source.from_json(config, root, files.read_json(part / _SOURCE))
    for number, samples in enumerate(chunks.chunked(source.read(checked_only))):
        left = tuple(task for task in tasks if not _chunk_file(task[0], number).exists())
        if left:
            yield left, number, samples


def _encode(given: _Samples, vocabulary: tuple[Path, str]) -> Iterator[None]:
    """Writes the texts of some samples, for every task."""
    tasks, number, samples = given
    for folder, rendering in tasks:
        made = chunks.encode_chunk(samples, rendering, _vocabulary(*vocabulary))
        chunks.save_chunk(_chunk_file(folder, number), made)
    yield from ()


@dataclasses.dataclass(frozen=True)
class _Guarded:
    """A stage whose UserError ends no worker: the message goes into a file."""

    stage: Callable[[Any], Iterator[Any]]
    errors: Path

    def __call__(self, given: Any) -> Iterator[Any]:
        try:
            yield from self.stage(given)
        except UserError as error:
            name = hashlib.sha256(str(error).encode()).hexdigest()
            files.write_json(self.errors / f"{name}.json", str(error))


def _raise_first(errors: Path) -> None:
    """Raises one of the UserErrors that workers met, if they met any, and forgets them."""
    for path in sorted(errors.glob("*.json")):
        message = files.read_json(path)
        shutil.rmtree(errors)
        raise UserError(message)


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:06d}.npz"


@functools.cache
def _vocabulary(folder: Path, digest: str) -> Vocabulary:
    """A worker's own, opened once; the digest tells it from another in the same place."""
    del digest
    return Vocabulary.load(folder)
