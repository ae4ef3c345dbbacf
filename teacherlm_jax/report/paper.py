"""Figures of the paper, for comparison with ours: TeacherLM, arXiv 2310.19019v2.

Zero-shot accuracies in per cent. MMLU is the mean over its 57 subjects. None means that the paper
has no figure or a misprint: in Table 7, the ECQA column of BLOOMZ-1.1B repeats the MMLU column from
the second row on.
"""

import dataclasses

SOURCE = "arXiv 2310.19019v2"

Row = tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        caption: description for the reader.
        columns: column names.
        rows: figures by row name, one for each column.
    """

    caption: str
    columns: tuple[str, ...]
    rows: dict[str, Row]


TEACHERS = PaperTable(
    "MMLU (mean over subjects) of the teachers after each stage. C, F, M: the third stage on "
    "chains of thought, fundamentals or common mistakes. Unstaged: all data mixed from the start.",
    ("stage 1", "stage 2", "C", "F", "M", "unstaged"),
    {
        "TeacherLM-560M": (31.0, 36.47, 38.39, 34.65, 34.85, 35.27),
        "TeacherLM-1.1B": (32.87, 41.36, 41.38, 39.25, 38.75, 40.26),
        "TeacherLM-3B": (36.51, 46.34, 46.74, 45.22, 45.1, 46.01),
        "TeacherLM-7.1B": (41.47, 51.11, 52.3, 50.32, 49.0, 47.0),
        "TeacherLM-176B": (None, 59.8, None, None, None, None),
    },
)

DATA = PaperTable(
    "Data of the paper (Table 2): options per question, samples, and mean tokens of human "
    "explanations and of TeacherLM-7.1B's chains of thought (C), fundamentals (F), mistakes (M).",
    ("options", "training", "test", "human", "C", "F", "M"),
    {
        "ECQA": (5, 7598, 2194, 59, 75, 186, 53),
        "StrategyQA": (2, 1832, 228, 28, 90, 192, 55),
        "CREAK": (2, 10174, 1371, 15, 71, 190, 48),
        "P3-Sense-3K": (None, 1400364, None, None, 49, 135, 54),
    },
)

_STUDENTS = (
    "BLOOM 1.1B",
    "BLOOM 3B",
    "BLOOM 7.1B",
    "BLOOMZ 1.1B",
    "BLOOMZ 3B",
    "BLOOMZ 7.1B",
    "OPT 1.3B",
    "OPT 2.7B",
    "OPT 6.7B",
)

_STUDENTS_CAPTION = (
    "{} of multi-task students by training data: none, the original P3, P3-Sense-3K as it is, or "
    "P3-Sense-3K with explanations in the order of the letters."
)


def _students(name: str, rows: dict[str, Row]) -> PaperTable:
    return PaperTable(_STUDENTS_CAPTION.format(name), _STUDENTS, rows)


STUDENTS = {
    "mmlu": _students(
        "MMLU (mean over subjects)",
        {
            "no training": (23.1, 25.1, 24.7, 23.7, 35.2, 39.6, 24.8, 22.2, 24.9),
            "P3": (25.8, 26.3, 32.8, 24.8, 28.9, 32.2, 27.8, 28.3, 31.0),
            "P3-Sense-3K": (31.0, 36.1, 39.2, 32.2, 38.6, 41.3, 33.1, 37.0, 39.1),
            "C": (32.9, 38.1, 42.6, 32.8, 40.1, 44.0, 35.8, 38.4, 42.2),
            "F": (31.7, 37.0, 42.0, 32.7, 39.7, 43.5, 33.2, 37.9, 40.9),
            "M": (31.9, 37.3, 41.5, 32.8, 39.0, 43.1, 34.8, 38.1, 39.9),
            "CM": (32.5, 37.4, 42.3, 33.1, 40.2, 44.1, 34.9, 38.4, 41.3),
            "CMF": (33.0, 38.0, 43.0, 33.5, 40.3, 44.7, 34.3, 39.4, 42.7),
            "FCM": (32.5, 38.0, 43.2, 32.6, 40.2, 44.5, 33.4, 39.5, 42.2),
            "shuffle": (33.1, 38.2, 41.0, 32.9, 40.1, 44.1, 35.3, 38.2, 41.6),
        },
    ),
    "creak": _students(
        "CREAK",
        {
            "no training": (50.6, 49.6, 49.6, 50.4, 49.6, 49.6, 49.7, 53.7, 64.6),
            "P3": (51.3, 54.6, 51.6, 51.3, 51.4, 51.1, 52.2, 51.2, 51.9),
            "P3-Sense-3K": (59.2, 68.2, 67.9, 58.8, 66.7, 71.3, 67.1, 70.2, 73.6),
            "C": (61.4, 66.8, 71.3, 63.7, 67.0, 70.6, 68.8, 73.2, 74.4),
            "F": (57.4, 66.9, 70.8, 60.7, 67.6, 71.1, 69.1, 72.6, 73.8),
            "M": (60.7, 67.0, 73.2, 62.7, 66.7, 71.7, 66.4, 71.9, 75.2),
            "CM": (62.4, 68.8, 71.8, 63.7, 68.8, 72.2, 68.3, 72.9, 75.7),
            "CMF": (61.9, 70.2, 70.5, 63.9, 69.0, 70.8, 65.9, 73.5, 75.0),
            "FCM": (64.1, 69.3, 70.4, 62.9, 68.5, 70.9, 65.0, 73.2, 75.9),
            "shuffle": (60.0, 68.6, 72.0, 63.7, 69.0, 70.8, 67.9, 72.6, 75.0),
        },
    ),
    "ecqa": _students(
        "ECQA",
        {
            "no training": (20.6, 19.3, 21.2, 20.2, 62.8, 74.3, 21.2, 20.4, 20.8),
            "P3": (22.1, 46.0, 61.3, None, 54.5, 64.3, 27.6, 48.5, 64.9),
            "P3-Sense-3K": (50.0, 63.4, 70.0, None, 76.0, 78.2, 59.5, 69.6, 71.9),
            "C": (51.5, 65.3, 71.9, None, 75.6, 80.1, 59.5, 70.4, 68.8),
            "F": (49.1, 63.4, 70.1, None, 75.0, 78.6, 49.7, 69.3, 70.3),
            "M": (51.8, 65.5, 71.4, None, 76.6, 78.6, 62.1, 70.2, 71.6),
            "CM": (53.1, 64.7, 71.7, None, 76.4, 79.5, 58.8, 70.2, 71.9),
            "CMF": (49.4, 64.8, 70.9, None, 74.5, 78.2, 51.9, 69.7, 71.7),
            "FCM": (46.5, 64.8, 70.6, None, 75.3, 78.2, 50.0, 68.4, 71.8),
            "shuffle": (55.7, 67.9, 71.3, None, 75.8, 78.2, 58.1, 71.6, 72.9),
        },
    ),
    "strategyqa": _students(
        "StrategyQA",
        {
            "no training": (55.3, 53.5, 52.2, 50.0, 52.2, 47.4, 53.5, 63.6, 71.5),
            "P3": (57.0, 55.7, 60.5, 56.6, 52.6, 63.2, 57.9, 54.4, 63.2),
            "P3-Sense-3K": (57.5, 69.7, 70.6, 61.8, 71.5, 73.7, 62.3, 65.8, 71.9),
            "C": (58.8, 68.9, 72.4, 64.0, 70.6, 73.2, 65.4, 66.7, 74.6),
            "F": (60.1, 68.0, 71.9, 63.6, 70.2, 75.0, 63.2, 68.9, 70.6),
            "M": (61.8, 66.2, 74.6, 64.5, 72.4, 71.5, 66.2, 68.4, 74.1),
            "CM": (59.6, 70.2, 69.7, 62.7, 71.9, 73.7, 65.8, 66.7, 73.7),
            "CMF": (58.8, 65.4, 72.4, 61.8, 69.3, 75.0, 62.7, 65.4, 72.4),
            "FCM": (60.1, 65.8, 71.1, 64.0, 70.2, 72.8, 60.5, 66.2, 71.5),
            "shuffle": (62.3, 71.5, 71.9, 61.8, 71.1, 73.7, 64.0, 65.4, 73.2),
        },
    ),
}


def is_mean_of_subjects(benchmark: str) -> bool:
    """Return whether the paper reports a benchmark, by our name, as a mean over subjects."""
    return benchmark.lower() == "mmlu"


def tables(benchmark: str) -> list[PaperTable]:
    """Return the tables of the paper for a benchmark, by our name; none if it has none."""
    name = benchmark.lower()
    teachers = [TEACHERS] if name == "mmlu" else []
    return teachers + ([STUDENTS[name]] if name in STUDENTS else [])
