"""The cells of the paper that no run fills, and the commands that would."""

import shlex
from collections import Counter

from teacherlm_jax.cli import main
from teacherlm_jax.config import paper_models
from teacherlm_jax.report.blocks import Commands
from teacherlm_jax.report.paper import empty_cells, fill_commands, printed
from teacherlm_jax.report.paper.measured import Measured


def expanded(line):
    """Return the single commands of a line, with each value of its loop."""
    if not line.startswith("for "):
        return [line]
    head, body, _ = line.split("; ")
    _, variable, _, *values = head.split(" ")
    commands = body.removeprefix("do ").split(" && ")
    return [command.replace(f"${variable}", value) for value in values for command in commands]


def evaluations(groups):
    prefix = "teacherlm evaluate --config=configs/evaluate_paper.py:"
    lines = [command for group in groups for line in group.commands for command in expanded(line)]
    return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)], lines


def test_the_commands_evaluate_each_missing_model_once_and_train_those_to_be_trained():
    missing = list(
        dict.fromkeys(c.model for c in empty_cells.all_cells() if c.can_be_filled and c.format)
    )
    groups = fill_commands.groups(missing, {})
    found, lines = evaluations(groups)
    assert sorted(found) == sorted(missing) and len(found) == 25 + 81 + 48 + 9 + 1
    assert sum(line.startswith("teacherlm train ") for line in lines) == len(paper_models.TRAINED)
    assert sum(len(group.commands) for group in groups) < 80
    titles = [group.title for group in groups]
    assert titles.index("TeacherLM 7b1") < titles.index("Data of the multi-task students")


def test_the_single_commands_are_valid_command_lines(capsys):
    groups = fill_commands.groups(["teacher/7b1/stage2", "student/opt-1.3b/pretrained"], {})
    _, lines = evaluations(groups)
    for line in lines:
        words = line.replace("'", "").split(" ")[1:]
        assert main.main([words[0], *words[1:], "--validate"]) == 0, line


def test_a_model_that_is_trained_already_is_only_evaluated():
    name = "student/bloomz-7b1/creak/C"
    groups = fill_commands.groups([name], {name: "runs/mine"})
    _, lines = evaluations(groups)
    assert lines == [
        f"teacherlm evaluate --config=configs/evaluate_paper.py:{name},model=runs/mine"
    ]


def test_the_path_of_a_trained_model_is_one_word_of_the_shell():
    name = "student/bloomz-7b1/creak/C"
    (group,) = fill_commands.groups([name], {name: "my runs/it's $HOME"})
    *_, config = shlex.split(group.commands[0])
    assert config == f"--config=configs/evaluate_paper.py:{name},model=my runs/it's $HOME"


def test_every_cell_is_filled_or_empty_or_of_others():
    found = empty_cells.coverage(Measured([]))
    assert not found.filled and len(found.others) == 3 * 58
    by_table = Counter(cell.table for cell in found.empty)
    assert by_table == {
        "teachers": 25,
        "data": 7 + 7 + 7 + 4,
        "subjects": 6 * 58,
        "single_task": 48,
        **{f"students_{name}": 90 for name in printed.STUDENT_BENCHMARKS},
        "teacher_settings": 4 * 5 + 3,
        "student_settings": 4,
    }


def test_every_empty_cell_is_named_once_beside_a_command():
    found = empty_cells.coverage(Measured([]))
    blocks = empty_cells.section(found, Measured([]))
    folded = [one for block in blocks if isinstance(block, Commands) for one in block.folded]
    assert len({one.name for one in folded}) == len(folded)
    assert all(one.lines and "$" not in "".join(one.lines) for one in folded)
    tables = [table for one in folded for table in one.gives.split("; ")]
    assert sum(table.count(",") + 1 for table in tables) == len(found.empty)


def test_a_list_names_the_cells_of_a_model_by_table():
    found = empty_cells.coverage(Measured([]))
    blocks = empty_cells.section(found, Measured([]))
    named = {
        one.name: one for block in blocks if isinstance(block, Commands) for one in block.folded
    }
    teacher = named["TeacherLM-7.1B, C"]
    assert teacher.gives.startswith("Table 1; Tables 5 and 6: abstract algebra, anatomy, ")
    assert teacher.gives.endswith(
        "world religions, average; the hyper-parameters: tokens of stage 3"
    )
    student = named["OPT 1.3B, CMF"]
    assert student.gives == "Table 7: MMLU, CREAK, ECQA, StrategyQA"
    assert student.lines[1].endswith("evaluate_paper.py:student/opt-1.3b/multi/CMF")
    assert named["CREAK"].gives == "Table 2: CREAK training, CREAK C, CREAK F, CREAK M"
    assert named["CREAK"].lines == ("teacherlm annotate --config=configs/annotate_task.py:creak",)
    human = named["BLOOMZ 7.1B, CREAK, C, human"]
    assert human.gives == "Table 2: CREAK human; the single-task table"
    assert "Table 2: ECQA options, ECQA test, " in named["BLOOMZ 7.1B, no training"].gives


def test_only_the_annotation_is_listed_if_only_its_figures_are_missing():
    for name, config in (("p3", "annotate_p3.py --sweep_all"), ("ecqa", "annotate_task.py:ecqa")):
        (group,) = fill_commands.groups([f"data/{name}"], {})
        assert group.commands == (f"teacherlm annotate --config=configs/{config}",)
        assert group.models == (f"data/{name}",)
