"""Interface of the engines that prepare data, and the scratch folder that they use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from etils import epath

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.runs import layout
from teacherlm_jax.sources.duplicates import Questions
from teacherlm_jax.storage import exchange, files, locations
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks.chunks import Chunk
from teacherlm_jax.tasks.seqio_tasks import TextTask
from teacherlm_jax.tasks.surveyed_source import SurveyedSource, SurveySettings
from teacherlm_jax.tokenization.vocabulary import Vocabulary

Surveyed = tuple[SurveyedSource, Questions]
ReadSurvey = Callable[[str, int, RefusedRows], Surveyed]  # takes a role and an index in it
ChunksOf = Callable[[TextTask], Iterator[Chunk]]

KEPT = "sources"  # the role whose samples are spooled


class PreparationEngine(Protocol):
    """Engine that surveys sources and encodes tasks, in this process or on workers."""

    def survey(
        self,
        sources: Mapping[str, Sequence[SourceConfig]],
        settings: SurveySettings,
        *,
        keep: bool,
    ) -> ReadSurvey:
        """Survey sources by role; return a function that gives the result for one of them.

        The function takes the role, the source's index in it, and the collector of its refused
        rows, and raises UserError as `survey_source` does. With `keep`, the samples of the role
        "sources" are spooled.
        """

    def encode(self, tasks: Sequence[TextTask], vocabulary: Vocabulary) -> ChunksOf:
        """Return a function that yields the encoded texts of one of `tasks`."""


class WorkFolder:
    """The scratch folder in a run folder: spooled samples, and texts that Beam workers encoded.

    Spooled samples never outlive the run. Encoded texts do if the run is interrupted or fails, and
    the next run does not encode them again.

    Attributes:
        path: the folder. Beam workers read and write it where the run folder is, also in a bucket.
    """

    def __init__(self, output: epath.PathLike):
        """Name the folder `output/.work`; it is created when something is written to it."""
        self.path = locations.absolute(output) / layout.WORK

    @property
    def tasks(self) -> epath.Path:
        """Folder of encoded texts."""
        return self.path / "tasks"

    def source(self, role: str, index: int) -> epath.Path:
        """Folder of one source in a role, "sources" or "evaluation"."""
        return self.path / "survey" / f"{role}-{index:05d}"

    def remove_survey(self) -> None:
        """Remove spooled samples, of this run or of one that was killed."""
        exchange.remove(self.path / "survey")

    def remove(self) -> None:
        """Remove everything."""
        exchange.remove(self.path)

    def close(self) -> None:
        """Remove everything except encoded texts."""
        self.remove_survey()
        if not files.is_folder(self.tasks):
            self.remove()
