import errno
from pathlib import Path

import pytest

from teacherlm_jax import __main__
from teacherlm_jax.cli import main
from teacherlm_jax.errors import Interrupted, UserError
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.runs import imports
from teacherlm_jax.storage import files

CONFIG = """
from teacherlm_jax import config

def get_config(variant=""):
    return config.TrainConfig(output={output!r}, data="data")
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Function that runs `teacherlm train` with `work` as training; returns the exit status."""
    path = tmp_path / "mine.py"
    path.write_text(CONFIG.format(output=str(tmp_path / "run")))

    def run(work, *overrides):
        loaded = {"inputs": lambda config: {}, "extended_keys": lambda before, config: ()}
        monkeypatch.setattr(verbs, "_load", lambda name: loaded.get(name.split(":")[1], work))
        return main.main(["train", f"--config={path}", *overrides])

    return run


def test_a_finished_run_is_not_repeated(command, tmp_path):
    calls = []

    def work(config, folder):
        calls.append(config.steps)
        return {"steps": config.steps}

    assert command(work) == 0
    assert command(work) == 0
    assert calls == [100]
    assert files.read_json(tmp_path / "run/result.json") == {"steps": 100}


def test_a_run_whose_damaged_result_was_removed_is_repeated(command, tmp_path):
    assert command(lambda config, folder: {"steps": 1}) == 0
    (tmp_path / "run/result.json").write_text("[]")
    assert command(lambda config, folder: {"steps": 2}) == 0  # finished before
    assert files.read_json(tmp_path / "run/result.json") == []
    (tmp_path / "run/result.json").unlink()
    assert command(lambda config, folder: {"steps": 3}) == 0
    assert files.read_json(tmp_path / "run/result.json") == {"steps": 3}


def test_a_setting_that_no_longer_has_an_effect_is_named_in_one_line(command, tmp_path, capsys):
    def work(config, folder):
        (folder.path / "checkpoints/100").mkdir(parents=True)
        return {"steps": config.steps}

    assert command(work) == 0
    capsys.readouterr()
    assert command(work, "--config.log_every=5", "--config.checkpoint.keep=7") == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/run: finished before; config.checkpoint.keep=7 (was 2), config.log_every=5 "
        "(was 10) has no effect; remove the folder to run it again\n"
    )


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (UserError("data/x: no such folder"), 2, "teacherlm: data/x: no such folder"),
        (Interrupted("saved step 3"), 143, "saved step 3"),
        (MemoryError(), 2, "out of memory; lower config.batch_size or config.loss_block, raise"),
        (RuntimeError("RESOURCE_EXHAUSTED: no 9 GiB\nat 0x1"), 2, "(RESOURCE_EXHAUSTED: no 9 GiB)"),
        (RuntimeError("std::bad_alloc"), 2, "out of memory (std::bad_alloc); lower"),
        (OSError(errno.ENOSPC, "full", "runs/x/rows"), 2, "runs/x/rows: No space left on device"),
        (OSError(errno.ENAMETOOLONG, "long", "runs/y"), 2, "runs/y: File name too long"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, "machine broke ([Errno 32] Broken pipe)"),
        (ValueError("saving: No space left on device"), 2, "config.output: No space left"),
        (ValueError('writing "/d/1": No space left on device'), 2, "/d/1: No space left"),
    ],
)
def test_failures_end_in_one_line_and_a_status(command, tmp_path, capsys, error, status, expected):
    def work(config, folder):
        raise error

    assert command(work) == status
    shown = capsys.readouterr().err
    assert expected in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run/result.json").exists()


def test_a_bug_is_not_hidden(command):
    def work(config, folder):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command(work)


def test_an_output_below_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(CONFIG.format(output=str(tmp_path / "mine.py/run")))
    assert main.main(["train", f"--config={tmp_path}/mine.py"]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_an_unknown_verb_is_refused(capsys):
    assert main.main(["trane"]) == 2
    assert "unknown command 'trane'" in capsys.readouterr().err


def test_help_lists_verbs_and_keys(capsys):
    assert main.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in main.VERBS)
    assert main.main(["train", "--help"]) == 0
    assert "--config.optimizer.learning_rate" in capsys.readouterr().out


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_names_a_function_that_exists(verb):
    module, _, function = main.VERBS[verb].function.partition(":")
    source = Path(main.__file__).parents[2] / (module.replace(".", "/") + ".py")
    assert f"\ndef {function}(" in source.read_text(encoding="utf-8")


def test_a_job_that_ran_out_of_memory_resumes_with_fewer_slots(tmp_path, monkeypatch, capsys):
    path = tmp_path / "job.py"
    path.write_text(
        "from teacherlm_jax.config import *\n"
        "def get_config(variant):\n"
        f"    return AnnotateConfig(output={str(tmp_path / 'run')!r},\n"
        "        source=SourceConfig('a', 'a.jsonl'), teachers=TeachersConfig(cot='t'))\n"
    )
    slots = []

    def work(config, folder):
        slots.append(config.slots)
        (folder.path / "texts" / "cot").mkdir(parents=True, exist_ok=True)
        if config.slots > 16:
            raise UserError("no memory")
        return {}

    loaded = {"inputs": lambda config: {}}
    monkeypatch.setattr(verbs, "_load", lambda name: loaded.get(name.split(":")[1], work))
    assert main.main(["annotate", f"--config={path}"]) == 2
    assert main.main(["annotate", f"--config={path}", "--config.seed=1"]) == 2
    assert main.main(["annotate", f"--config={path}", "--config.slots=16"]) == 0
    assert slots == [64, 16]
    assert "config.seed=0, but now config.seed=1" in capsys.readouterr().err


def test_a_training_that_ran_out_of_memory_resumes_with_the_suggested_settings(command, capsys):
    def work(config, folder):
        (folder.path / "checkpoints/1").mkdir(parents=True, exist_ok=True)
        if config.accumulate == 1:
            raise MemoryError
        return {}

    assert command(work) == 2
    message = capsys.readouterr().err
    assert "config.loss_block, raise config.accumulate, set config.model.remat='full'" in message
    suggested = ("loss_block=64", "accumulate=2", "model.remat=full")
    assert command(work, *(f"--config.{setting}" for setting in suggested)) == 0


def test_a_preparation_that_ran_out_of_memory_names_the_length(tmp_path, monkeypatch, capsys):
    path = tmp_path / "data.py"
    path.write_text(
        "from teacherlm_jax.config import *\n"
        "def get_config(variant):\n"
        f"    return PrepareConfig({str(tmp_path / 'run')!r},\n"
        "        sources=(SourceConfig('a', 'a.jsonl'),), mixtures=(MixtureConfig('texts'),),\n"
        "        vocabulary=VocabularyConfig('v'))\n"
    )

    def work(config, folder):
        raise MemoryError

    monkeypatch.setattr(verbs, "_load", lambda name: work if "prepare" in name else lambda c: c)
    assert main.main(["prepare", f"--config={path}"]) == 2
    assert "out of memory; lower config.length or the size of the data" in capsys.readouterr().err


def test_a_valid_command_line_can_be_checked_without_running_it(command, tmp_path, capsys):
    def work(config, folder):
        raise AssertionError("it ran")

    assert command(work, "--validate") == 0
    assert "valid" in capsys.readouterr().out
    assert command(work, "--validate", "--config.stpes=3") == 2
    assert "stpes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_validate_may_come_before_the_command(capsys):
    words = ["train", "--config=configs/quickstart.py:stage1"]
    assert main.main(["--validate", *words]) == 0
    before = capsys.readouterr().out
    assert main.main([*words, "--validate"]) == 0
    assert before == capsys.readouterr().out == "teacherlm train: the command line is valid\n"


@pytest.mark.parametrize("mesh", ["fsdp=16", "data=2", "tensor=4"])
def test_validate_with_a_number_of_devices_checks_the_mesh(mesh, capsys):
    words = ["train", "--config=configs/quickstart.py:stage1", f"--config.mesh.{mesh}"]
    words.append("--config.batch_size=16")
    assert main.main([*words, "--validate=7"]) == 2
    message = capsys.readouterr().err
    assert "config.mesh: the product of" in message and "the number of devices, 7; " in message
    size = mesh.partition("=")[2]
    assert main.main([f"--validate={size}", *words]) == main.main([*words, "--validate"]) == 0


def test_validate_with_a_number_of_devices_checks_the_batch(capsys):
    words = ["train", "--config=configs/quickstart.py:stage1", "--config.mesh.fsdp=8"]
    assert main.main([*words, "--validate=8"]) == 2
    assert "config.batch_size=2: not divisible by 8, the devices along" in capsys.readouterr().err
    assert main.main([*words, "--config.batch_size=8", "--validate=8"]) == 0


def test_validate_with_devices_accepts_commands_without_a_mesh(capsys):
    assert main.main(["doctor", "--validate=4"]) == 0
    assert (
        main.main(["prepare", "--config=configs/quickstart.py:teacher_data", "--validate=4"]) == 0
    )


@pytest.mark.parametrize("value", ["", "0", "-1", "16x", "v5e:4x4"])
def test_a_number_of_devices_must_be_positive(value, capsys):
    assert main.main(["doctor", f"--validate={value}"]) == 2
    assert f"--validate={value}: expected the number of devices" in capsys.readouterr().err


@pytest.fixture
def annotation(tmp_path, monkeypatch):
    """Function that runs `teacherlm annotate` without its modules; returns the exit status."""
    (tmp_path / "mine.py").write_text(
        "from teacherlm_jax import config\n"
        "def get_config(variant):\n"
        "    teachers = config.TeachersConfig(cot='nowhere')\n"
        f"    return config.AnnotateConfig(output='{tmp_path}/run', teachers=teachers,\n"
        "                                 source=config.SourceConfig('a', 'a'))\n"
        "def sweep():\n"
        "    for seed in (1, 2):\n"
        "        yield f'seed_{seed}', {'seed': seed}\n"
    )

    def run(dry_run, *words):
        monkeypatch.setattr(verbs, "_load", lambda name: {"dry_run": dry_run}[name.split(":")[1]])
        return main.main(["annotate", f"--config={tmp_path}/mine.py", *words])

    return run


def test_a_dry_run_prints_a_text_for_every_point_and_opens_no_run(annotation, tmp_path, capsys):
    def dry_run(config, options):
        return f"{config.output} {config.seed} {options.topology}"

    words = ("--sweep_all", "--dry_run", "--topology=v5e:2x2")
    assert annotation(dry_run, *words) == 0
    run = f"{tmp_path}/run"
    lines = [f"{run}/seed_{seed} {seed} v5e:2x2\n" for seed in (1, 2)]
    assert capsys.readouterr().out == "".join(lines)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_a_dry_run_that_is_refused_ends_like_the_run(annotation, tmp_path, capsys):
    def dry_run(config, options):
        raise UserError("nowhere: no such folder")

    assert annotation(dry_run, "--sweep_index=0", "--dry_run") == 2
    assert capsys.readouterr().err == "teacherlm: nowhere: no such folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_options_of_a_dry_run_are_refused_elsewhere(annotation, command, capsys):
    assert annotation(None, "--sweep_index=0", "--topology=v5e:2x2") == 2
    assert "--topology: 'v5e:2x2' needs --dry_run; add it" in capsys.readouterr().err
    assert command(lambda config, folder: {}, "--dry_run") == 2
    assert "unknown option '--dry_run'" in capsys.readouterr().err


@pytest.mark.parametrize("work", [lambda: 2, lambda: 1 / 0], ids=["status", "error"])
def test_a_process_that_ends_does_not_search_for_garbage(work, monkeypatch):
    ends = []
    monkeypatch.setattr("gc.freeze", lambda: ends.append("freeze"))
    monkeypatch.setattr(__main__, "main", work)
    monkeypatch.setattr(imports, "_of_one_command", False)  # set by the command, and restored
    with pytest.raises((SystemExit, ZeroDivisionError)) as ended:
        __main__.command()
    assert ends == ["freeze"]
    assert getattr(ended.value, "code", 2) == 2
