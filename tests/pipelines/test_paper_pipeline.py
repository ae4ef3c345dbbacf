"""The paper's whole experiment at toy size on generated data, and its dry run in the docs."""

import json
import re
from pathlib import Path

import pytest

from teacherlm_jax.cli import flags
from teacherlm_jax.cli.main import main
from teacherlm_jax.config import PipelineConfig
from teacherlm_jax.storage import files

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs/reference/paper-dry-run.md"


@pytest.fixture(scope="module")
def root(tmp_path_factory, one_device):
    """The folder of a finished tiny pipeline, whose steps are started in the same environment."""
    root = tmp_path_factory.mktemp("paper") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        for name, value in one_device.items():
            patch.setenv(name, value)
        assert pipeline(root) == 0
        yield root


def pipeline(root, *options):
    words = ["pipeline", f"--config=configs/paper.py:tiny,root={root}", "--processes=2", *options]
    return main(words)


# Kinds of steps of the paper that the tiny pipeline leaves out, and why.
_NOT_TINY = {
    "student/bloom/TASK/FORM/davinci": "needs a server",
    "student/multi_first/TASK/FORM/davinci": "needs a server",
    "student_data/TASK/davinci": "needs a server",
    "annotate/TASK/davinci": "needs a server",
    "evaluate/teacher/stage1": "evaluated like stage3_cot",
    "evaluate/teacher/stage2": "likewise",
    "evaluate/teacher/stage3_fundamental": "likewise",
    "evaluate/teacher/stage3_mistake": "likewise",
    "evaluate/teacher/no_stage": "likewise",
    "evaluate/student/bloom/multi/P3": "evaluated like FORM",
    "evaluate/student/opt/multi/P3": "likewise",
    "evaluate/student/bloom/TASK/FORM": "likewise, on one benchmark",
    "evaluate/student/bloom/TASK/FORM/human": "likewise",
    "evaluate/student/bloom/TASK/FORM/davinci": "likewise",
    "evaluate/student/multi_first/TASK/FORM": "likewise",
    "evaluate/student/multi_first/TASK/FORM/human": "likewise",
    "evaluate/student/multi_first/TASK/FORM/davinci": "likewise",
    "evaluate/student/bloom/pretrained": "reads a published model",
    "evaluate/student/opt/pretrained": "likewise",
}


def kind(name):
    """The name of a step without the size, the family's member, the task and the form."""
    for pattern, general in (
        (r"\bteacher/(560m|7b1)/", "teacher/"),
        (r"\bstudent/bloomz-7b1-multi/", "student/multi_first/"),
        (r"\bstudent/(opt|bloom)z?-[^/]+/", r"student/\1/"),
        (r"/(creak|ecqa|strategyqa)\b", "/TASK"),
        (r"/(TASK|multi)/(text|C|M|F|CM|CMF|FCM|shuffle)\b", r"/\1/FORM"),
    ):
        name = re.sub(pattern, general, name)
    return name


def test_the_tiny_pipeline_has_every_kind_of_step_but_those_with_a_reason(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    kinds = {}
    for variant in ("tiny", "7b1,server=http://localhost:1/v1"):
        words = [f"--config=configs/paper.py:{variant}"]
        steps = flags.load(words, (PipelineConfig,)).config.steps
        kinds[variant[:4]] = {kind(step.name) for step in steps}
    tiny, whole = kinds.values()
    assert tiny <= whole
    assert whole - tiny == _NOT_TINY.keys()


def test_every_step_writes_a_result(root):
    steps = files.read_json(root / "config.json")["config"]["steps"]
    records = files.read_json(root / "steps.json")
    assert {step["name"] for step in steps} == {*records}
    assert all(record["output"].startswith("sha256:") for record in records.values())


def test_the_specialists_explain_what_the_students_are_trained_on(root):
    explained = files.read_json(root / "teacher/560m/annotate_creak/result.json")
    assert {kind: one["count"] for kind, one in explained["kinds"].items()} == {
        "cot": 20, "fundamental": 20, "mistake": 20,
    }  # fmt: skip
    manifest = files.read_json(root / "student/creak_data/student_C/manifest.json")
    assert manifest["texts"] == 20
    inputs = files.read_json(root / "student/bloomz-7b1-multi/creak_C/inputs.json")
    assert {"data", "init_from"} <= inputs.keys()


def test_students_of_explanations_by_people_read_them_with_and_without_the_mixture_before(root):
    manifest = files.read_json(root / "student/creak_human_data/student_C/manifest.json")
    assert manifest["texts"] == 20 and manifest["inputs"]["mixture"]["author"] == "human"
    first, later = (
        files.read_json(root / f"student/{model}/creak_C_human/inputs.json")
        for model in ("bloomz-7b1", "bloomz-7b1-multi")
    )
    assert first["data"] == later["data"]
    assert "init_from" in later and "init_from" not in first


def test_opt_students_start_from_their_model_with_the_data_of_its_tokenizer(root):
    tokenizer = (root / "data/models/opt/vocab.json").read_bytes()
    for form, data in (("CMF", "multi"), ("P3", "p3")):
        (prepared,) = (root / f"student_opt/{data}_data").glob("student_*/manifest.json")
        size = files.read_json(prepared)["inputs"]["vocabulary"]["size"]
        assert size == len(json.loads(tokenizer))
        settings = files.read_json(root / f"student/opt-1.3b/multi_{form}/config.json")["config"]
        assert settings["init_from"] == str(root / "data/models/opt")
        assert settings["model"]["family"] == "opt"


def test_the_report_has_the_evaluations_in_the_cells_of_the_paper(root):
    page = (root / "report/report.md").read_text(encoding="utf-8")
    for name in (
        "teacher/560m/stage3_cot",
        "student/bloomz-7b1/multi/CMF",
        "student/opt-1.3b/multi/CMF",
    ):
        assert f"| evaluate/{name} | evaluate | {name} |" in page
    accuracy = files.read_json(root / "evaluate/teacher/560m/stage3_cot/result.json")
    shown = f"{100 * accuracy['benchmarks']['mmlu']['macro_accuracy']:.2f}"
    (row,) = re.findall(r"^\| TeacherLM-560M, ours \|(.*)\|$", page, re.MULTILINE)[:1]
    assert [cell.strip() for cell in row.split("|")] == ["–", "–", shown, "–", "–", "–"]


def test_a_changed_input_is_refused_by_its_step_and_leaves_the_others(root, capsys):
    path = root / "data/rationale/creak_train.jsonl"
    before = path.read_bytes()
    assert pipeline(root, "--until=annotate/p3") == 0
    assert capsys.readouterr().out.count("finished before") == 7
    path.write_bytes(before.replace(b"True or false", b"Right or wrong", 1))
    try:
        assert pipeline(root, "--until=student_data/creak") == 2
    finally:
        path.write_bytes(before)
    shown, error = capsys.readouterr()
    assert f"annotate_creak: changed since it finished: {path}" in shown
    assert "has changed since this job was planned; restore the rows of the source" in shown
    assert (
        "step 'explain creak' failed with status 2; steps that need it and were not run: 1" in error
    )
    assert pipeline(root, "--status") == 0
    shown = capsys.readouterr().out
    assert shown.count("finished  ") == 26 and shown.count("failed  ") == 1


def test_the_dry_run_in_the_docs_is_what_the_command_prints(capsys, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    text = PAGE.read_text(encoding="utf-8")
    command, block = re.search(r"```bash\nteacherlm (.+?)\n```.*?```text\n(.*?)```", text,
                               re.DOTALL).groups()  # fmt: skip
    assert command.split() == ["pipeline", "--config=configs/paper.py:7b1", "--dry_run"]
    assert main(command.split()) == 0
    shown = capsys.readouterr().out
    present = shown.partition("\nnot there yet")[0].rstrip()
    assert block.partition("\nnot there yet")[0].rstrip() == present, (
        "the page is old: run its command again"
    )


def test_the_drawing_in_the_docs_is_that_of_the_pipeline(tmp_path):
    words = ["pipeline", f"--config=configs/paper.py:7b1,root={tmp_path}/runs"]
    assert main([*words, f"--graph={tmp_path}/graph.svg"]) == 0
    drawing = PAGE.with_name("paper-pipeline.svg")
    assert drawing.read_text(encoding="utf-8") == (tmp_path / "graph.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("topology", "count", "unit"),
    [("v6e:4x4", "16 chips", "chip-hours"), ("gpu:h100x8", "8 GPUs", "GPU-hours")],
)
def test_the_slice_of_all_steps_can_be_set_for_the_dry_run(capsys, topology, count, unit):
    words = ["pipeline", "--config=configs/paper.py:560m,students=opt-1.3b,forms=text"]
    assert main([*words, "--dry_run", f"--topology={topology}"]) == 0
    shown = capsys.readouterr().out
    assert "v5e" not in shown and f"{topology}, {count}" in shown
    (header,) = re.findall("^command  +slice .*$", shown, re.MULTILINE)
    assert set(re.findall(r"\w+-hours", shown)) == {unit} and unit in header
    assert "(compiled)" not in shown
