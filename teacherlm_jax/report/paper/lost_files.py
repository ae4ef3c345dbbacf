"""Empty cells of Table 2 whose run is finished, so that the command of the run cannot fill them.

Explanations by people are counted in the data of a student, and options in the predictions of an
evaluation. If these files are gone, the commands for the model do not write them again.
"""

import shlex
from collections.abc import Sequence

from teacherlm_jax.report.blocks import Block, Commands, Notice
from teacherlm_jax.report.paper import names_of_models, settings_cells
from teacherlm_jax.report.paper.measured import Measured
from teacherlm_jax.report.paper.paper_cells import PaperCell
from teacherlm_jax.runs import layout
from teacherlm_jax.storage.paths import StoragePath

_MIXTURE = "student_C"  # that students of explanations by people learn from
_NOTE = (
    "These students are trained, but the manifests of their data are gone. The commands write the "
    "data again, from the samples of `teacherlm annotate --config=configs/annotate_task.py:TASK`."
)


def is_lost(cell: PaperCell, measured: Measured) -> bool:
    """Return whether an empty cell has a finished run, whose files lack what the cell needs."""
    if cell.table != settings_cells.DATA:
        return False
    if cell.column == "human":
        return cell.model in measured.trainings
    evaluated = measured.accuracy(cell.model, cell.row)
    return cell.column == "options" and evaluated is not None and evaluated.complete


def section(lost: Sequence[PaperCell], measured: Measured) -> list[Block]:
    """Return the commands that write the lost data again, and what to do about other cells."""
    blocks: list[Block] = []
    commands = {cell: command for cell in lost if (command := _command(cell, measured))}
    if commands:
        note = f"Fills {', '.join(map(_name, commands))} of Table 2. {_NOTE}"
        blocks.append(Commands("Data of trained students", note, tuple(commands.values())))
    if others := [cell for cell in lost if cell not in commands]:
        lines = tuple(f"{_name(cell)}: {_reason(cell, measured)}" for cell in others)
        blocks.append(Notice("Empty cells of Table 2 whose runs are finished", lines))
    return blocks


def _name(cell: PaperCell) -> str:
    return f"{names_of_models.dataset(cell.row)} {names_of_models.data_column(cell.column)}"


def _command(cell: PaperCell, measured: Measured) -> str:
    """Return the command that writes the data of a training again; empty if there is none."""
    if cell.column != "human":
        return ""
    training = measured.trainings[cell.model]
    data = StoragePath(training.run.config.get("data", ""))
    if training.manifest or data.name != _MIXTURE:
        return ""
    command = f"teacherlm prepare --config=configs/student_data.py:{cell.row}/human"
    if str(data.parent) == f"runs/student/{cell.row}_human_data":
        return command
    return f"{command} {shlex.quote(f'--config.output={data.parent}')}"


def _reason(cell: PaperCell, measured: Measured) -> str:
    """Return why a cell is empty and how to fill it, as a sentence without a full stop."""
    if cell.column == "options":
        evaluated = measured.accuracy(cell.model, cell.row)
        names = ", ".join(evaluated.runs if evaluated else ())
        return (
            f"{names} has no predictions with scores any more; remove its {layout.RESULT} and "
            "repeat its command"
        )
    training = measured.trainings[cell.model]
    manifest = StoragePath(training.run.config.get("data", "")) / layout.MANIFEST
    lack = "has no tokens of explanations by people" if training.manifest else "is gone"
    return (
        f"{training.run.name} learned from data whose {manifest} {lack}; prepare these data again "
        f"with configs/student_data.py:{cell.row}/human"
    )
