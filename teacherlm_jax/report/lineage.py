"""Which models are students: those trained on what an annotation of these runs wrote."""

import os
from collections.abc import Sequence
from pathlib import Path

from teacherlm_jax.report.collect import FoundRun


def students(runs: Sequence[FoundRun]) -> list[Path]:
    """Run folders of the students among the trainings.

    A training's model is one when its data was prepared from files below an annotation's run
    folder. Runs that were moved since no longer say so.
    """
    annotated = [run.path for run in runs if run.verb == "annotate"]
    prepared = [
        run.path
        for run in runs
        if run.verb == "prepare" and any(below(path, annotated) for path in _sources(run))
    ]
    return [
        run.path
        for run in runs
        if run.verb == "train" and below(run.config.get("data", ""), prepared)
    ]


def below(path: Path | str, folders: Sequence[Path]) -> bool:
    """Whether the path lies in one of the folders, or is one."""
    whole = Path(os.path.abspath(path))
    return any(whole.is_relative_to(os.path.abspath(folder)) for folder in folders)


def _sources(run: FoundRun) -> list[Path]:
    root = run.config.get("root", "")
    return [Path(root, source["path"]) for source in run.config.get("sources", ())]
