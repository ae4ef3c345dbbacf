"""Explanations of one or two teachers, joined by sample."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from teacherlm_jax.data.sample import KINDS, Sample
from teacherlm_jax.errors import UserError
from teacherlm_jax.report import data_inputs
from teacherlm_jax.sources.subsample import SeededSubsample
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.wording import counted

Key = tuple[str, str]  # source and id of a sample, which is unique within its source


@dataclasses.dataclass(frozen=True)
class RatedTeacher:
    """A teacher whose explanations are read.

    Attributes:
        name: the path, or the author if `config.authors` chose among the authors of the path.
        path: run folder or file with the explanations.
        author: label of the explanations in it.
        models: by kind, the models that wrote them, whether or not a page shows their samples:
            `teacher`, `step` and `model_digest`.
    """

    name: str
    path: str
    author: str
    models: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JoinedSamples:
    """Samples with the explanations of one or two teachers.

    Attributes:
        teachers: the teachers.
        samples: for each sample and each teacher the sample with its explanations, None where the
            teacher has none.
        rows: number of samples in each path.
        notes: sentences about samples that are not shown, or only in part.
    """

    teachers: tuple[RatedTeacher, ...]
    samples: tuple[tuple[Sample | None, ...], ...]
    rows: Mapping[str, int]
    notes: tuple[str, ...]


class _Collected:
    """The samples of one path: those that a limit draws, and authors and models of all of them."""

    def __init__(self, path: str, limit: int, seed: int, refused: RefusedRows):
        self.path = path
        self.rows = 0
        self.authors: Counter[str] = Counter()
        self._models: dict[str, dict[str, list[dict[str, Any]]]] = {}  # by author and kind
        drawn = SeededSubsample[tuple[int, Sample]](limit, seed)
        for sample in data_inputs.read_samples(path, "sample", refused):
            drawn.add(_name(sample), (self.rows, sample))
            self.rows += 1
            self.authors.update({name for texts in sample.explanations.values() for name in texts})
            self._add_models(sample)
        self.samples: dict[Key, Sample] = {}
        self.duplicates = 0
        for _, sample in sorted(drawn.drawn(), key=lambda item: item[0]):
            self.duplicates += key_of(sample) in self.samples
            self.samples.setdefault(key_of(sample), sample)

    def _add_models(self, sample: Sample) -> None:
        for kind, entry in sample.annotations.items():
            model = {key: entry.get(key) for key in ("teacher", "step", "model_digest")}
            models = self._models.setdefault(entry["author"], {}).setdefault(kind, [])
            if model not in models:
                models.append(model)

    def names(self) -> list[str]:
        """Return the authors that are shown if none is named: annotators, or else all."""
        return list(self._models or self.authors)

    def models(self, author: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return the models that annotated as an author, by kind."""
        return self._models.get(author, {})


def join(
    paths: Sequence[str],
    authors: Sequence[str],
    *,
    limit: int,
    seed: int,
    refused: RefusedRows,
) -> JoinedSamples:
    """Return the samples in one or two paths with the explanations of one or two teachers.

    Args:
        paths: run folders of annotations, or files, globs or folders of samples.
        authors: authors of the explanations: one for each path or two of one path; empty: the
            author of the annotations, or the only authors.
        limit: most samples to keep; more are drawn by a hash of the seed and their ids.
        seed: seed of the limit.
        refused: collects rows that are no samples.

    Raises UserError if there are no explanations, if it is not clear which are meant, or if the
    paths do not explain the same samples.
    """
    collected = [_Collected(path, limit, seed, refused) for path in dict.fromkeys(paths)]
    teachers = _teachers(paths, authors, collected)
    by_path = {own.path: own for own in collected}
    keys = _drawn(collected, limit, seed)
    rows = [tuple(by_path[teacher.path].samples.get(key) for teacher in teachers) for key in keys]
    own = [tuple(map(_of_teacher, teachers, row)) for row in rows]
    shown = [row for row in own if any(row)]
    if not shown:
        raise UserError(
            f"config.samples={','.join(paths)}: no sample has an explanation by "
            f"{_listed(teacher.author for teacher in teachers)}; name another author in "
            "config.authors"
        )
    _refuse_different(teachers, rows)
    return JoinedSamples(
        teachers=tuple(
            dataclasses.replace(teacher, models=by_path[teacher.path].models(teacher.author))
            for teacher in teachers
        ),
        samples=tuple(shown),
        rows={own.path: own.rows for own in collected},
        notes=tuple(_notes(collected, teachers, shown, len(own), limit, seed)),
    )


def key_of(sample: Sample) -> Key:
    """Return source and id of a sample."""
    return sample.source, sample.id


def _name(sample: Sample) -> str:
    return "\n".join(key_of(sample))


def _drawn(collected: Sequence[_Collected], limit: int, seed: int) -> list[Key]:
    """Return up to `limit` keys, in their order or, if there are more, in the order of the draw.

    There are more if all paths together have more keys, or if one path has more rows, of which
    `_Collected` has drawn a part.
    """
    different = list(dict.fromkeys(key for own in collected for key in own.samples))
    if len(different) <= limit and all(own.rows <= limit for own in collected):
        return different
    subsample = SeededSubsample[Key](limit, seed)
    for key in different:
        subsample.add("\n".join(key), key)
    return subsample.ranked()


def _teachers(
    paths: Sequence[str], authors: Sequence[str], collected: Sequence[_Collected]
) -> list[RatedTeacher]:
    if authors:
        pairs = _pairs_of(paths, authors, collected)
    else:
        pairs = [(own.path, name) for own in collected for name in own.names()]
        if len(collected) > 1:
            _refuse_several(collected)
    if not 1 <= len(pairs) <= 2:
        found = _listed(f"{author!r} in {path}" for path, author in pairs)
        raise UserError(
            f"config.samples={','.join(paths)}: explanations by {found or 'nobody'}, expected one "
            "or two authors; name them, as in --config.authors=teacher,human"
        )
    apart = len({path for path, _ in pairs}) == len(pairs)
    usual = len(collected) > 1 or collected[0].names() == [pairs[0][1]]
    return [RatedTeacher(path if apart and usual else name, path, name) for path, name in pairs]


def _pairs_of(
    paths: Sequence[str], authors: Sequence[str], collected: Sequence[_Collected]
) -> list[tuple[str, str]]:
    """Return path and author of each teacher that `config.authors` names."""
    if len(paths) > 1 and len(authors) not in (1, len(paths)):
        raise UserError(
            f"config.authors: {len(authors)} authors of {len(paths)} paths; name one for each path"
        )
    if len(paths) > 1:
        pairs = list(zip(paths, list(authors) * (2 if len(authors) == 1 else 1), strict=True))
    else:
        pairs = [(paths[0], author) for author in authors]
    known = {own.path: own.authors for own in collected}
    for path, author in pairs:
        if author not in known[path]:
            raise UserError(
                f"config.authors: {path} has no explanation by {author!r}; its authors are "
                f"{_listed(map(repr, known[path])) or 'none'}, so name one of them"
            )
    if len(set(pairs)) < len(pairs):
        raise UserError(
            f"config.authors: {pairs[0][1]!r} of {pairs[0][0]} is named twice; name it once"
        )
    return pairs


def _refuse_several(collected: Sequence[_Collected]) -> None:
    """Raise UserError if one of two paths has explanations by several authors, or by none."""
    for own in collected:
        if len(own.names()) != 1:
            names = _listed(map(repr, own.names())) or "nobody"
            raise UserError(
                f"{own.path}: explanations by {names}, expected one author; name one for each "
                "path, as in --config.authors=teacher,human"
            )


def _refuse_different(
    teachers: Sequence[RatedTeacher], rows: Sequence[tuple[Sample | None, ...]]
) -> None:
    """Raise UserError if two paths share no sample, or samples of one id differ in content."""
    paths = [teacher.path for teacher in teachers]
    if len(set(paths)) < 2:
        return
    shared = [row for row in rows if all(row)]
    for first, second in shared:
        assert first is not None
        assert second is not None
        for field in ("question", "options", "answer"):
            if getattr(first, field) != getattr(second, field):
                raise UserError(
                    f"sample {first.id!r} of {first.source!r}: {field} in {paths[0]} is not the "
                    f"same as in {paths[1]}; compare explanations of the same data"
                )
    if not shared:
        first, second = (next(row[at] for row in rows if row[at]) for at in (0, 1))
        assert first is not None
        assert second is not None
        raise UserError(
            f"{paths[0]} and {paths[1]}: no sample in both; samples are joined by source and id, "
            f"such as {key_of(first)} and {key_of(second)}, so name explanations of the same data"
        )


def _of_teacher(teacher: RatedTeacher, sample: Sample | None) -> Sample | None:
    """Return a sample with nothing but the explanations of a teacher; None if it has none."""
    if sample is None:
        return None
    texts = {
        kind: {teacher.author: sample.explanations[kind][teacher.author]}
        for kind in KINDS
        if teacher.author in sample.explanations.get(kind, {})
    }
    entries = {
        kind: entry
        for kind, entry in sample.annotations.items()
        if kind in texts and entry["author"] == teacher.author
    }
    return dataclasses.replace(sample, explanations=texts, annotations=entries) if texts else None


def _notes(
    collected: Sequence[_Collected],
    teachers: Sequence[RatedTeacher],
    shown: Sequence[tuple[Sample | None, ...]],
    joined: int,
    limit: int,
    seed: int,
) -> Iterable[str]:
    if any(own.rows > limit for own in collected) or joined >= limit:
        for own in collected:
            if own.rows > len(shown):
                drawn = f"{counted(len(shown), 'sample')} of {own.rows:,}"
                yield f"{drawn} in {own.path}, drawn with seed {seed}"
    for own in collected:
        if own.duplicates:
            yield f"samples of {own.path} that repeat an id, not shown: {own.duplicates:,}"
        hidden = set(own.authors) - {
            teacher.author for teacher in teachers if teacher.path == own.path
        }
        if hidden:
            yield f"{own.path}: explanations by {_listed(sorted(hidden))} are not shown"
    if without := joined - len(shown):
        yield f"samples without explanations by these authors, not shown: {without:,}"
    for at, teacher in enumerate(teachers):
        alone = sum(sample is None for sample in (row[at] for row in shown))
        if alone:
            yield f"samples without an explanation by {teacher.name}: {alone:,}"


def _listed(names: Iterable[str]) -> str:
    return " and ".join(names)
