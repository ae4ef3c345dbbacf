"""Engine that prepares data in this process."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks.preparation_engine import (
    KEPT,
    ChunksOf,
    ReadSurvey,
    Surveyed,
    WorkFolder,
)
from teacherlm_jax.tasks.seqio_tasks import TextTask
from teacherlm_jax.tasks.surveyed_source import SurveySettings, survey_source
from teacherlm_jax.tokenization.vocabulary import Vocabulary


class InProcess:
    """Engine that does each piece of work when its result is requested."""

    def __init__(self, work: WorkFolder):
        self._work = work

    def survey(
        self,
        sources: Mapping[str, Sequence[SourceConfig]],
        settings: SurveySettings,
        *,
        keep: bool,
    ) -> ReadSurvey:
        """Return a function that surveys a source; see `PreparationEngine.survey`."""
        self._work.remove_survey()

        def read(role: str, index: int, refused: RefusedRows) -> Surveyed:
            folder, kept = Path(self._work.source(role, index)), keep and role == KEPT
            return survey_source(sources[role][index], settings, refused, folder, keep=kept)

        return read

    def encode(self, tasks: Sequence[TextTask], vocabulary: Vocabulary) -> ChunksOf:
        """Return a function that encodes the texts of a task from spooled samples."""
        del tasks
        return lambda task: task.chunks(vocabulary)
