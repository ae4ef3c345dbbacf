"""The graph of a pipeline, as text and as SVG."""

import xml.etree.ElementTree as ET

import pytest

from teacherlm_jax.cli.main import main
from teacherlm_jax.pipelines import step_graph, step_graph_svg
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.pipelines.step_records import StepRecords
from teacherlm_jax.storage.paths import StoragePath

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def nodes(tmp_path):
    """Function that returns the nodes of steps, from what each needs; of a finished one, None."""

    def make(needs, verb="train"):
        steps = []
        for name, before in needs.items():
            output = tmp_path / f"{name.replace('/', '-')}.json"
            if name.startswith("done"):
                output.touch()
            steps.append(
                Step(
                    name=name,
                    title=name,
                    output=StoragePath(output),
                    verb=verb,
                    after=tuple(before.split()),
                )
            )
        return step_graph.nodes(steps, StepRecords(StoragePath(tmp_path)))

    return make


def test_the_text_is_a_tree_below_the_last_step_that_is_needed(nodes):
    graph = nodes({"done": "", "b": "done", "c": "done", "d": "b c done", "e": ""})
    assert step_graph.text(graph).splitlines() == [
        "done [finished]",
        "|-- b",
        "`-- c",
        "    `-- d, also needs b",
        "e",
    ]


def test_many_steps_of_one_kind_share_a_node(nodes):
    needs = {"data": ""} | {f"student/{n}/C": "data" for n in range(50)}
    needs |= {f"evaluate/student/{n}/C": f"student/{n}/C" for n in range(50)}
    graph = nodes(needs)
    assert [node.label for node in graph] == [
        "data",
        "student/*/C (50 steps)",
        "evaluate/student/*/C (50 steps)",
    ]
    assert [node.level for node in graph] == [0, 1, 2]


def test_the_drawing_has_a_box_for_each_step_and_an_arrow_for_each_need(nodes):
    graph = nodes({"done": "", "b": "done", "c": "done", "a&b": "b c"})
    drawing = ET.fromstring(step_graph_svg.svg(graph))
    texts = [text.text for text in drawing.iter(f"{SVG}text")]
    assert sorted(texts) == ["a&b", "b", "c", "done"]
    arrows = [path for path in drawing.iter(f"{SVG}path") if path.get("marker-end")]
    assert len(arrows) == 4
    boxes = {group.find(f"{SVG}text").text: group.find(f"{SVG}rect") for group in
             drawing.iter(f"{SVG}g")}  # fmt: skip
    left = {name: float(box.get("x")) for name, box in boxes.items()}
    assert left["done"] < left["b"] == left["c"] < left["a&b"]
    assert boxes["b"].get("y") != boxes["c"].get("y")
    assert boxes["done"].get("fill") != boxes["b"].get("fill")
    assert float(drawing.get("width")) > max(left.values())


def test_the_command_prints_and_writes_the_graph(tmp_path, capsys):
    words = ["quickstart", f"--config=configs/quickstart.py:root={tmp_path}/runs"]
    assert main([*words, "--graph=text"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("teacher_data\n`-- stage1\n    |-- stage2\n    |   |-- stage3_cot\n")
    assert "-- annotate, also needs stage3_cot, stage3_fundamental\n" in shown
    assert main([*words, f"--graph={tmp_path}/graph.svg"]) == 0
    assert "graph.svg: 18 steps" in capsys.readouterr().out
    assert len(list(ET.parse(tmp_path / "graph.svg").iter(f"{SVG}text"))) == 18
    assert main([*words, "--graph=graph.png"]) == 2
    message = "--graph: expected 'text' or the name of an SVG file, got 'graph.png'"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
