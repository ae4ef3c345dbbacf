import csv
import errno

import pytest

from teacherlm_jax import config
from teacherlm_jax.cli import main, overrides, sweep
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.runs import distributed
from teacherlm_jax.storage import files
from tests.cli.config_files import SWEEP


def test_a_point_is_a_run_of_its_own_and_the_command_line_overrides_its_config(command, tmp_path):
    assert command("--sweep_index=1", "--config.batch_size=9") == 0
    (config,) = command.trained
    assert config.output == str(tmp_path / "runs/rate_0.0003")
    assert (config.optimizer.learning_rate, config.steps, config.batch_size) == (3e-4, 7, 9)
    assert (tmp_path / "runs/rate_0.0003/result.json").exists()


def test_the_points_of_a_sweep_are_a_group_unless_the_config_names_another(command):
    assert command("--sweep_index=0", "--config.tracking.group=mine") == 0
    assert command("--sweep_index=1") == 0
    assert [config.tracking.group for config in command.trained] == ["mine", "runs"]


def test_without_an_index_a_config_with_a_sweep_is_refused_with_both_remedies(command, capsys):
    assert command() == 2
    assert "run one point with --sweep_index=0, or all of them with --sweep_all" in (
        capsys.readouterr().err
    )
    assert command("--sweep_index=0") == 0
    assert command("--sweep_all") == 0
    assert [config.optimizer.learning_rate for config in command.trained] == [1e-4, 3e-4]


def test_an_override_of_a_swept_key_is_refused(command, capsys):
    for words in (["--sweep_index=1"], ["--sweep_all"]):
        assert command(*words, "--config.steps=9") == 2
        assert "--config.steps: sweep() sets this key at 'rate_" in capsys.readouterr().err
    assert not command.trained


def test_the_table_shows_the_settings_that_a_run_had_after_the_sweep_was_edited(command, capsys):
    assert command("--sweep_index=1") == 0
    edited = SWEEP.replace('"steps": 7', '"steps": 8')
    capsys.readouterr()
    assert command("--sweep_results", text=edited) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["state"], row["steps"]) for row in rows] == [
        ("not started", "8"),
        ("finished", "7"),
    ]


def test_the_list_shows_every_point_and_runs_none(command, capsys, tmp_path):
    assert command("--sweep_list") == 0
    shown = capsys.readouterr().out
    assert shown == (
        "  0  rate_0.0001  optimizer.learning_rate=0.0001 steps=7\n"
        "  1  rate_0.0003  optimizer.learning_rate=0.0003 steps=7\n"
    )
    assert not command.trained and not (tmp_path / "runs").exists()


def test_one_table_has_the_results_of_all_points(command, capsys, tmp_path):
    assert command("--sweep_index=1") == 0
    capsys.readouterr()
    assert command("--sweep_results") == 0
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "runs/sweep.csv").read_text()
    rows = list(csv.DictReader(shown.splitlines()))
    assert [row["state"] for row in rows] == ["not started", "finished"]
    assert [row["loss"] for row in rows] == ["", "2.5"]
    assert [row["benchmarks.mmlu.accuracy"] for row in rows] == ["", "0.5"]
    assert not [name for name in rows[0] if name == "checkpoint" or "by_subject" in name]
    result = files.read_json(tmp_path / "runs/rate_0.0003/result.json")
    assert result["checkpoint"] == "somewhere"


@pytest.mark.parametrize(
    ("metric", "ranks"), [("mmlu/accuracy", ["2", "1", ""]), ("held_out/loss", ["1", "2", ""])]
)
def test_trainings_are_ranked_by_their_best_value_and_not_by_their_last(
    command, capsys, tmp_path, metric, ranks
):
    sweep = "def sweep():\n    for seed in (1, 2, 3):\n        yield f's{seed}', {'seed': seed}\n"
    for seed, best, last in ((1, 0.25, 0.25), (2, 0.5, 0.125)):
        folder = tmp_path / "runs" / f"s{seed}"
        settings = {"seed": seed, "validation": {"metric": metric}}
        files.write_json(folder / "config.json", {"config": settings})
        result = {"best_metric": best, "best_step": 2, "final_metric": last}
        files.write_json(folder / "result.json", result)
    assert command("--sweep_results", text=sweep) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["metric"] for row in rows] == [metric, metric, ""]
    assert [row["rank"] for row in rows] == ranks
    assert [row["best_metric"] for row in rows] == ["0.25", "0.5", ""]
    assert [row["final_metric"] for row in rows] == ["0.25", "0.125", ""]


TWO_VERBS = """
def get_config(variant=""):
    if variant == "evaluate":
        return config.EvaluateConfig(
            output={output!r}, model="m", benchmarks=(config.BenchmarkConfig("b", "b.jsonl"),)
        )
    return config.TrainConfig(output={output!r}, data="data")

def sweep():
    yield "a", {{"batch_size": 4, "seed": 2}}
    yield "b", {{"batch_size": 4, "optimizer.learning_rate": 1e-3}}
"""


def test_a_sweep_of_trainings_does_not_concern_an_evaluation_in_the_same_file(
    command, capsys, tmp_path
):
    text = TWO_VERBS.format(output=str(tmp_path / "eval"))
    assert command(text=text, verb="evaluate", variant="evaluate") == 0
    assert "mine.py: its sweep() sets keys of another command and is not used\n" in (
        capsys.readouterr().out
    )
    assert [config.model for config in command.trained] == ["m"]
    assert (tmp_path / "eval/result.json").exists()
    assert command(text=text) == 2
    assert "has a sweep; run one point" in capsys.readouterr().err
    assert command("--sweep_all", text=text, verb="evaluate", variant="evaluate") == 2
    assert "sweep() at 'a': batch_size: unknown key; did you mean batch_tokens?" in (
        capsys.readouterr().err
    )


CONVERSION = """
def get_config(variant=""):
    return config.ConvertConfig()

def sweep():
    yield "a", {"mesh.fsdp": 2}
"""


@pytest.mark.parametrize("option", ["--sweep_all", "--sweep_list", "--sweep_index=0"])
def test_a_conversion_has_no_sweeps(command, capsys, tmp_path, option):
    words = ("a", str(tmp_path / "b"))
    assert main.main(["convert", *words, option]) == 2
    assert command(*words, option, text=CONVERSION, verb="convert") == 2
    message = "--sweep options do not work with this command; run it once for each point"
    assert capsys.readouterr().err.count(message) == 2


def test_a_conversion_does_not_use_the_sweep_of_its_config_file(tmp_path, capsys, monkeypatch):
    converted, path = [], tmp_path / "mine.py"
    path.write_text(f"from teacherlm_jax import config\n{CONVERSION}")
    monkeypatch.setattr(verbs, "_load", lambda name: converted.append)
    assert main.main(["convert", "a", "b", f"--config={path}"]) == 0
    (settings,) = converted
    assert (settings.output, settings.mesh.fsdp) == ("b", 1)
    assert "mine.py: its sweep() is not used by this command" in capsys.readouterr().out


def test_a_sweep_without_a_config_file_is_refused(capsys):
    assert main.main(["report", "--sweep_all"]) == 2
    assert "--sweep options need a config file with a function sweep(); name it, as in --conf" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("key", ["stepps", "benchmarks[0].pathh", "optimizer", "model.steps"])
def test_a_mistyped_key_of_a_sweep_is_not_taken_for_one_of_another_verb(command, capsys, key):
    text = f"def sweep():\n    yield 'a', {{{key!r}: 3}}\n    yield 'b', {{'batch_size': 3}}"
    assert command(text=text) == 2
    assert "has a sweep; run one point" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "key", "known"),
    [
        (config.TrainConfig, "optimizer.learning_rate", True),
        (config.EvaluateConfig, "benchmarks[3].path", True),
        (config.EvaluateConfig, "benchmarks[3].paths", False),
        (config.EvaluateConfig, "optimizer.learning_rate", False),
        (config.TrainConfig, "steps[0]", False),
        (config.TrainConfig, "steps.more", False),
    ],
)
def test_a_class_knows_its_keys(kind, key, known):
    assert overrides.has_key(kind, key) is known


def test_named_settings_do_not_replace_a_swept_key(command, capsys, tmp_path):
    text = """
def get_config(variant=""):
    return config.AnnotateConfig(
        output="o", source=config.SourceConfig("a", "a.jsonl"),
        teachers=config.TeachersConfig(cot="t"),
    )

def sweep():
    yield "a", {"sampling.top_k": 4}
"""
    words = ("--sweep_all", "--config.sampling=authors")
    assert command(*words, text=text, verb="annotate") == 2
    assert "--config.sampling: sweep() sets this key at 'a'" in capsys.readouterr().err


FOUR = """
def sweep():
    for seed in (1, 2, 3, 4):
        yield f"s{seed}", {"seed": seed}
"""


@pytest.mark.parametrize(
    ("error", "reason", "traces"),
    [
        (UserError("data: gone"), "data: gone", 0),
        (MemoryError(), "out of memory; lower config.batch_size or config.loss_block", 0),
        (OSError(errno.ENOSPC, "full", "runs/x"), "runs/x: No space left on device", 0),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug", 2),
    ],
)
def test_a_sweep_continues_after_a_point_that_fails_and_names_it_at_the_end(
    command, capsys, error, reason, traces
):
    command.errors |= {2: error, 3: error}
    assert command("--sweep_all", text=FOUR) == 2
    assert [config.seed for config in command.trained] == [1, 4]
    shown = capsys.readouterr()
    *before, last = shown.err.splitlines()
    assert last.startswith(f"teacherlm: 2 of 4 points of the sweep failed: s2, s3: {reason}")
    assert "\n".join(before).count("Traceback") == traces
    assert f"point s2 failed: {reason}" in shown.out
    command.errors.clear()
    assert command("--sweep_all", text=FOUR) == 0
    assert [config.seed for config in command.trained] == [1, 4, 2, 3]


def test_different_errors_of_points_are_listed_separately(command, capsys):
    command.errors |= {1: UserError("data: gone"), 4: UserError("loss: NaN")}
    assert command("--sweep_all", text=FOUR) == 2
    assert capsys.readouterr().err == (
        "teacherlm: 2 of 4 points of the sweep failed: s1: data: gone | s4: loss: NaN\n"
    )


@pytest.mark.parametrize(
    ("error", "status"), [(Interrupted("saved"), 143), (KeyboardInterrupt(), 130)]
)
def test_an_interruption_ends_a_sweep(command, error, status):
    command.errors |= {2: error}
    assert command("--sweep_all", text=FOUR) == status
    assert [config.seed for config in command.trained] == [1]


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("", ["--sweep_list"], "has no function sweep()"),
        (SWEEP, ["--sweep_index=2"], "--sweep_index=2: the sweep has the points 0 to 1"),
        (SWEEP, ["--sweep_index=-2"], "--sweep_index: -2 is not in [-1, inf)"),
        (SWEEP, ["--sweep_index=1", "--sweep_list"], "give only one of"),
        ("def sweep():\n    yield 'a'", ["--sweep_list"], "yields 'a' at index 0"),
        ("def sweep():\n    yield 'a/b', {}", ["--sweep_list"], "cannot name a folder"),
        ("def sweep():\n    return [('a', {}), ('a', {})]", ["--sweep_list"], "two points 'a'"),
        ("def sweep():\n    return []", ["--sweep_list"], "yields nothing"),
        ("def sweep():\n    return 1 / 0", ["--sweep_list"], "mine.py:8: ZeroDivisionError"),
        (
            "def sweep():\n    yield 'a', {'stepps': 3}",
            ["--sweep_index=0"],
            "sweep() at 'a': stepps: unknown key; did you mean steps?",
        ),
        (
            "def sweep():\n    yield 'a', {'steps': 'many'}",
            ["--sweep_index=0"],
            "config.steps: expected an int, got 'many'",
        ),
    ],
)
def test_sweeps_that_cannot_be_used_are_refused(command, capsys, text, words, message):
    assert command(*words, text=text) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1
    assert not command.trained


def test_a_failure_in_an_earlier_sweep_does_not_count_for_a_point_of_the_same_name(monkeypatch):
    def fail():
        raise UserError("failed")

    works = []
    monkeypatch.setattr(distributed, "all_failed", lambda work: works.append(work) or True)
    for _ in range(2):
        with pytest.raises(UserError, match="1 of 1 points of the sweep failed: one: failed"):
            sweep.run_all([sweep.SweepPoint("one", {})], [fail], str)
    assert len(set(works)) == 2
