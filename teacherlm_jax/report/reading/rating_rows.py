"""Ratings that a reading page saved, with the teachers in place of left and right."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.report.reading import page_key
from teacherlm_jax.report.reading.joined_samples import Key, RatedTeacher
from teacherlm_jax.report.reading.page_key import LEFT, RIGHT, SIDES, PageKey
from teacherlm_jax.storage import files, locations

TIE = "tie"
_FIRST_LINE = "teacherlm_ratings"  # key of the line that names the page and its reader
_FORMATS = (1,)
_LARGEST = 5  # rating


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReaderJudgement:
    """A reader's judgement on the explanations of one kind of a sample.

    Attributes:
        reader: name of the reader.
        sample: source and id of the sample.
        kind: kind of the explanations.
        teachers: names of the teachers on the page, from left to right.
        marks: ratings from 1 to 5, by teacher; without those that were not given.
        preferred: name of the teacher whose explanation is better, TIE, or empty.
        seconds: time of the judgement, in seconds since 1970.
    """

    reader: str
    sample: Key
    kind: str
    teachers: tuple[str, ...]
    marks: Mapping[str, int]
    preferred: str
    seconds: float

    @property
    def question(self) -> tuple[Any, ...]:
        """Return what other readers may have judged, too."""
        return self.sample, self.kind, tuple(sorted(self.teachers))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ratings:
    """The judgements in some files.

    Attributes:
        judgements: the latest judgement of each reader on each pair of explanations.
        teachers: the teachers by name.
        replaced: number of earlier judgements that later ones of the same reader replaced.
        digests: digest of each file.
    """

    judgements: tuple[ReaderJudgement, ...]
    teachers: Mapping[str, RatedTeacher]
    replaced: int
    digests: Mapping[str, str]

    @property
    def readers(self) -> list[str]:
        """Return the names of the readers, sorted."""
        return sorted({judgement.reader for judgement in self.judgements})


def read(patterns: Sequence[str]) -> Ratings:
    """Return the ratings in files or globs.

    Raises UserError that names the line that is not a judgement, or the files without any.
    """
    paths = dict.fromkeys(path for pattern in patterns for path in locations.expand("", pattern))
    teachers: dict[str, RatedTeacher] = {}
    latest: dict[tuple[Any, ...], ReaderJudgement] = {}
    lines = 0
    for path in paths:
        known = None
        for key, judgement in _judgements(path):
            if key is not known:
                _add_teachers(teachers, key, str(path))
                known = key
            lines += 1
            own = (judgement.reader, *judgement.question)
            if own not in latest or latest[own].seconds <= judgement.seconds:
                latest[own] = judgement
    given = [judgement for judgement in latest.values() if judgement.marks or judgement.preferred]
    if not given:
        raise UserError(
            f"{', '.join(map(str, paths))}: no ratings; rate explanations on the page of "
            "`teacherlm report --samples`, and save them there"
        )
    return Ratings(
        judgements=tuple(given),
        teachers=teachers,
        replaced=lines - len(latest),
        digests={str(path): files.file_digest(path) for path in paths},
    )


def _judgements(path: epath.Path) -> Iterable[tuple[PageKey, ReaderJudgement]]:
    """Yield the judgements in a file, each with the key of its page."""
    key, reader = None, ""
    for number, row in files.read_jsonl(path):
        place = f"{path}:{number}"
        if isinstance(row, files.MalformedRow):
            raise UserError(f"{place}: {row.reason}; save the ratings from the page again")
        if _FIRST_LINE in row:
            if row[_FIRST_LINE] not in _FORMATS:
                raise UserError(
                    f"{place}: ratings of format {row[_FIRST_LINE]!r}, expected {_FORMATS[-1]}; "
                    "use the version of teacherlm that made the page"
                )
            key = page_key.decoded(str(row.get("key")), place)
            reader = str(row.get("reader") or "").strip() or path.stem
        elif key is None:
            raise UserError(
                f"{place}: not a file of ratings, expected a first line with {_FIRST_LINE!r}; name "
                "files that the page of `teacherlm report --samples` saved"
            )
        else:
            if fault := _fault(row, len(key.teachers)):
                raise UserError(f"{place}: {fault}; save the ratings from the page again")
            yield key, _judgement(row, key, reader)


def _fault(row: Mapping[str, Any], sides: int) -> str:
    """Return why a row is not a valid judgement; empty if it is one."""
    for name in ("id", "source"):
        if not isinstance(row.get(name), str):
            return f"{name} is {row.get(name)!r}, expected text"
    if row.get("kind") not in KINDS:
        return f"kind is {row.get('kind')!r}, expected one of {', '.join(KINDS)}"
    for side in SIDES:
        mark = row.get(side)
        if mark is not None and not (type(mark) is int and 1 <= mark <= _LARGEST):
            return f"{side} is {mark!r}, expected a rating from 1 to {_LARGEST}"
    if row.get("preference") not in (None, LEFT, RIGHT, TIE):
        return f"preference is {row['preference']!r}, expected left, right or tie"
    if sides == 1 and (row.get(RIGHT) or row.get("preference")):
        return "a right side, but the page has only one; expected a rating of the left one"
    return ""


def _judgement(row: Mapping[str, Any], key: PageKey, reader: str) -> ReaderJudgement:
    sample = (row["source"], row["id"])
    names = [key.teachers[index].name for index in key.order(sample)]
    by_side = dict(zip(SIDES, names, strict=False))
    return ReaderJudgement(
        reader=reader,
        sample=sample,
        kind=row["kind"],
        teachers=tuple(names),
        marks={name: row[side] for side, name in by_side.items() if row.get(side) is not None},
        preferred=by_side.get(row.get("preference") or "", row.get("preference") or ""),
        seconds=_seconds(row.get("time")),
    )


def _seconds(time: Any) -> float:
    """Return a time as seconds; 0, which is earlier than any, if it is missing or malformed."""
    try:
        return datetime.datetime.fromisoformat(str(time)).timestamp()
    except ValueError:
        return 0.0


def _add_teachers(teachers: dict[str, RatedTeacher], key: PageKey, path: str) -> None:
    """Add the teachers of a page; raise UserError if one has the name of another one."""
    for teacher in key.teachers:
        known = teachers.setdefault(teacher.name, teacher)
        for kind in known.models.keys() & teacher.models.keys():
            if _digests(known.models[kind]) != _digests(teacher.models[kind]):
                raise UserError(
                    f"{path}: {teacher.name} is not the teacher of that name in the other ratings: "
                    f"other models wrote its {kind}; report these files apart"
                )


def _digests(models: Iterable[Mapping[str, Any]]) -> set[Any]:
    """Return the digests of models, or the addresses of those without one."""
    return {model["model_digest"] or model["teacher"] for model in models}
