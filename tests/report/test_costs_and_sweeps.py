"""Runs are grouped by what differs in their settings, and show what they cost."""

import pytest

from teacherlm_jax.report import costs, run_groups, sweeps, trainings
from teacherlm_jax.report.blocks import Cell, Figure, Subheading
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.storage import files


@pytest.fixture
def swept(tmp_path):
    """Return a function that writes runs of a sweep over the learning rate, and finds them."""

    def write(losses, metric=None, data="data", parent="rates", **more):
        for number, loss in enumerate(losses):
            folder = tmp_path / "runs" / parent / f"rate_{number}"
            config = {
                "output": str(folder),
                "data": data if isinstance(data, str) else data[number],
                "optimizer": {"learning_rate": 10.0**-number, "b2": 0.95},
                "validation": {"metric": metric or ""},
                **more,
            }
            result = {
                "step": 10,
                "steps": 10,
                "tokens": 1000,
                "loss": loss,
                "accuracy": 0.5,
                "tokens_per_second": 10.0,
                "parameters": 50,
                "seconds": 1800.0,
            }
            if metric:
                best = {"best_step": 10, "best_metric": loss, "final_metric": loss}
                result |= best
                rows = [{"step": 5, metric: loss / 2}, {"step": 10, metric: loss}]
                files.write_jsonl(folder / "validation.jsonl", rows)
            files.write_json(folder / "config.json", {"verb": "train", "config": config})
            files.write_json(folder / "result.json", result)
            files.write_jsonl(folder / "metrics.jsonl", [{"step": 10, "loss": loss or 1.0}])
        return find_runs(str(tmp_path / "runs"), tmp_path / "report")

    return write


def _cells(rows):
    return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in rows]


def test_the_runs_of_a_sweep_are_sorted_by_loss_and_the_best_is_marked(swept):
    _, title, table = sweeps.section(swept([3.0, 2.0, None, 2.5]), "")
    assert title == Subheading("rates: optimizer.learning_rate")
    assert table.header == ("run", "training loss", "optimizer.learning_rate", "tokens")
    assert _cells(table.rows) == [
        ["rate_1", "2.0000", "0.1", "1,000"],
        ["rate_3", "2.5000", "0.001", "1,000"],
        ["rate_0", "3.0000", "1.0", "1,000"],
        ["rate_2", "–", "0.01", "1,000"],
    ]
    assert [row[1].best for row in table.rows] == [True, False, False, False]


def test_a_common_validation_metric_decides_and_higher_accuracy_is_better(swept):
    *_, table = sweeps.section(swept([0.4, 0.6, 0.5], metric="creak/accuracy"), "")
    assert table.header[1] == "creak/accuracy"
    assert [row[1].text for row in table.rows] == ["0.6000", "0.5000", "0.4000"]
    assert table.rows[0][1].best


def test_equal_runs_have_no_winner_and_one_run_is_no_sweep(swept):
    *_, table = sweeps.section(swept([2.0, 2.0]), "")
    assert not any(row[1].best for row in table.rows)
    assert sweeps.section(swept([2.0, 2.0])[:1], "") == []


def test_runs_that_differ_in_many_settings_are_named_as_not_compared(swept, tmp_path):
    swept([3.0, 2.0])
    for number in range(2):
        path = tmp_path / f"runs/rates/rate_{number}/config.json"
        content = files.read_json(path)
        content["config"] |= {"seed": number, "steps": number, "batch_size": number, "log": number}
        files.write_json(path, content)
    _, told = sweeps.section(find_runs(str(tmp_path / "runs"), tmp_path / "report"), "")
    assert told.text.startswith(
        "Training runs that differ from the others in more than 4 settings, or in their data and "
        "folder: rates/rate_0, rates/rate_1 (2 in total)."
    )


def _titles(blocks):
    return [block.text for block in blocks if isinstance(block, Subheading)]


def test_runs_in_several_folders_are_one_group_if_they_differ_in_few_settings(swept):
    swept([3.0, 2.0], parent="first", seed=1)
    _, title, table = sweeps.section(swept([2.5, 1.5], parent="second", seed=2), "")
    assert title == Subheading("optimizer.learning_rate, seed")
    assert [row[0] for row in table.rows] == [
        *("second/rate_1", "first/rate_1", "second/rate_0", "first/rate_0")
    ]
    assert table.rows[0][1].best


def test_runs_on_other_data_in_another_folder_are_a_group_of_their_own(swept):
    swept([3.0, 2.0], parent="first", data="a")
    blocks = sweeps.section(swept([2.5, 1.5], parent="second", data="b"), "")
    assert _titles(blocks) == ["first: optimizer.learning_rate", "second: optimizer.learning_rate"]


def test_one_folder_has_a_group_for_each_kind_of_run_and_the_closest_runs_are_together(swept):
    first = dict.fromkeys(("steps", "batch_size", "epochs", "warmup"), 1)
    swept([3.0, 2.0], parent="all/one", **first)
    runs = swept([2.5, 1.5], parent="all/two", **dict.fromkeys(first, 2))
    folder = runs[0].path.parent.parent
    for number, name in enumerate(("one/rate_0", "two/rate_0", "one/rate_1", "two/rate_1")):
        (folder / name).rename(folder / f"run_{number}")
    runs = find_runs(str(folder.parent), folder.parent / "report")
    groups = [[run.name for run in group.runs] for group in run_groups.groups(runs)]
    assert groups == [["all/run_0", "all/run_2"], ["all/run_1", "all/run_3"]]


def test_settings_that_change_no_result_do_not_separate_runs(swept):
    swept([3.0], parent="first", log_every=10, data_cache="/a", **_tracked("first", "wandb"))
    runs = swept([2.5], parent="second", log_every=20, data_cache="/b", **_tracked("second"))
    assert sweeps.section(runs, "") == []


def _tracked(group, *services):
    return {"track": services, "tracking": {"group": group, "tags": [group]}}


def test_the_losses_of_different_data_have_no_winner(swept):
    *_, table = sweeps.section(swept([3.0, 2.0], data=["a", "b"]), "")
    assert not any(row[1].best for row in table.rows)
    assert "not comparable" in table.caption


def test_held_out_losses_of_different_data_and_mere_seeds_have_no_winner(swept, tmp_path):
    *_, table = sweeps.section(swept([3.0, 2.0], metric="held_out/loss", data=["a", "b"]), "")
    assert not any(row[1].best for row in table.rows)
    for number in range(2):
        path = tmp_path / f"runs/rates/rate_{number}/config.json"
        content = files.read_json(path)
        content["config"] |= {"data": "a", "optimizer": {}, "seed": number}
        files.write_json(path, content)
    *_, table = sweeps.section(find_runs(str(tmp_path / "runs"), tmp_path / "report"), "")
    assert table.header[2] == "seed"
    assert not any(row[1].best for row in table.rows)


def test_curves_of_different_data_are_in_different_figures(swept, tmp_path):
    blocks = trainings.section(swept([3.0, 2.0, 2.5], data=["a", "b", "a"]), tmp_path)
    drawn = [block for block in blocks if isinstance(block, Figure)]
    assert [block.name for block in drawn] == ["loss-1", "loss-2"]
    names = [[name for name, *_ in block.drawing.curves] for block in drawn]
    assert names == [["rates/rate_0", "rates/rate_2"], ["rates/rate_1"]]


def test_the_curves_of_a_group_are_together_and_apart_from_other_runs_on_its_data(swept, tmp_path):
    swept([3.0, 2.0], parent="sweep")
    other = dict.fromkeys(("steps", "batch_size", "epochs", "warmup"), 1)
    blocks = trainings.section(swept([2.5], parent="other", **other), tmp_path)
    drawn = [block for block in blocks if isinstance(block, Figure)]
    names = [[name for name, *_ in block.drawing.curves] for block in drawn]
    assert names == [["other/rate_0"], ["sweep/rate_0", "sweep/rate_1"]]
    assert drawn[1].caption.endswith(" Group: sweep: optimizer.learning_rate.")


def test_each_validation_metric_has_its_curves(swept, tmp_path):
    blocks = trainings.section(swept([0.4, 0.6], metric="creak/accuracy"), tmp_path)
    drawn = {block.name: block.drawing.curves for block in blocks if isinstance(block, Figure)}
    assert list(drawn) == ["loss", "validation-creak-accuracy"]
    assert drawn["validation-creak-accuracy"][1] == ("rates/rate_1", (5, 10), (0.3, 0.6))


def test_costs_show_flops_time_and_goodput_as_far_as_they_were_recorded(swept, tmp_path):
    runs = swept([3.0, 2.0])
    summary = {
        "device": "TPU v4",
        "chips": 4,
        "wall_seconds": 7200.0,
        "model_flops_per_token": 1e6,
        "goodput": 0.8,
        "share": {"compile": 0.15, "checkpoint": 0.045, "input": 0.005},
    }
    files.write_json(tmp_path / "runs/rates/rate_0/summary.json", summary)
    _, table, times = costs.section(runs)
    header = ("run", "command", "tokens", "FLOPs", "time", "chips", "chip-hours")
    assert table.lines == [
        header,
        ("rates/rate_0", "train", "1,000", "1.00e+09", "2.00 h", "4 (TPU v4)", "8.00"),
        ("rates/rate_1", "train", "1,000", "3.00e+05", "30.0 min", "", ""),
        ("total", "train", "2,000", "1.00e+09", "2.50 h", "", "8.00"),
    ]
    assert times.lines[1:] == [
        ("rates/rate_0", "80.0", "compile 15.0, checkpoint 4.5"),
        ("rates/rate_1", "–", "–"),
    ]
