"""The help of the command: complete, within 100 columns, and on every console."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys

import pytest

from teacherlm_jax import config
from teacherlm_jax.cli import help_text, main
from teacherlm_jax.cli.tools import TOOLS
from teacherlm_jax.config import fields

CLASSES = [kind for name in config.__all__ if isinstance(kind := getattr(config, name), type)]


@pytest.fixture
def shown(capsys):
    """Function that returns the help of a verb."""

    def of(verb):
        assert main.main([verb, "--help"]) == 0
        return capsys.readouterr().out

    return of


@pytest.mark.parametrize("kind", CLASSES)
def test_every_field_of_every_config_class_has_a_help_text(kind):
    texts = {field.name: field.metadata.get("help", "") for field in dataclasses.fields(kind)}
    assert all(text.isascii() and len(text) > 8 for text in texts.values()), texts


@pytest.mark.parametrize("verb", main.VERBS)
def test_the_help_of_every_verb_fits_100_columns_of_ascii_and_describes_every_key(verb, shown):
    text = shown(verb)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= help_text.WIDTH
    for entry in re.findall(r"^  (--\S+).*\n(.*)", text, re.MULTILINE):
        assert entry[1].strip(), entry
    options = () if verb == "convert" else dataclasses.fields(config.SweepOptions)
    for kind in main.VERBS[verb].options:
        options += dataclasses.fields(kind)
    assert all(f"  --{fields.option_of(option.name)}" in text for option in options)


@pytest.mark.parametrize("name", TOOLS)
def test_the_help_of_a_command_without_a_config_describes_its_options(name, shown):
    text = shown(name)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= help_text.WIDTH
    words = {field.metadata.get("words") for field in dataclasses.fields(TOOLS[name].options)}
    options = {field.name for field in dataclasses.fields(TOOLS[name].options)} - {"runs"}
    for option in (*(f"--{option}" for option in options), *(words - {None}), "--help"):
        assert re.search(rf"^  {option}\b.*\n      \w", text, re.MULTILINE), option
    assert f"usage: teacherlm {name} " in text and "--config" not in text


RUNNER = "--runner=TEXT"


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("train", ()),
        ("prepare", ("--check_only", RUNNER)),
        ("annotate", ("--dry_run", "--topology=TEXT", RUNNER)),
        (
            "report",
            (
                "--paper",
                "--data=PATH",
                "--samples=PATH,PATH,...",
                "--blind",
                "--ratings=PATH,PATH,...",
            ),
        ),
        (
            "pipeline",
            (
                *("--until=TEXT", "--from=TEXT", "--processes=INT", "--retries=INT", "--status"),
                *("--graph=TEXT", "--dry_run", "--topology=TEXT"),
            ),
        ),
        ("convert", ("SRC", "DST")),
        (
            "plan",  # "--runner" is a key of AnnotateConfig
            (
                "--topology=TEXT",
                "--fits",
                "--length=INT",
                "--model=TEXT",
                "--rows=INT",
                "--advise",
                "--calibration=TEXT",
                RUNNER,
            ),
        ),
    ],
)
def test_the_help_lists_every_option_of_a_verb_before_its_keys(verb, more, shown):
    options, _, _ = shown(verb).partition("keys of the config")
    listed = {line.split()[0] for line in options.splitlines() if re.match("  [^ ]", line)}
    swept = {"--sweep_index=INT", "--sweep_all", "--sweep_list", "--sweep_results"}
    common = {"--config=FILE.py[:VARIANT]", "--config.KEY=VALUE", "--validate[=DEVICES]", "--help"}
    assert listed == (set() if verb == "convert" else swept) | common | set(more)


@pytest.mark.parametrize("verb", main.VERBS)
def test_the_help_of_every_verb_ends_with_an_example_that_is_valid(verb, shown, capsys):
    title, *examples = shown(verb).rpartition("\n\n")[2].splitlines()
    assert title == ("example:" if len(examples) == 1 else "examples:")
    for example in examples:
        program, *words = shlex.split(example, comments=True)
        assert program == "teacherlm"
        assert main.main([*words, "--validate"]) == 0
        assert "valid" in capsys.readouterr().out


def test_the_help_of_convert_describes_its_values_once(shown):
    text = shown("convert")
    assert "\n  SRC  (required)\n      model to convert: a run folder" in text
    words = " ".join(text.split())
    assert "usage: teacherlm convert SRC DST [--config=FILE.py[:VARIANT]] [" in words
    assert "folder to write, new or empty; or the folder of the same import, or of an" in words
    assert "keys of the config (ConvertConfig): " in words
    assert "\n  DST  (required)\n      folder to write" in text
    assert "--config.source" not in text


def test_the_help_of_a_verb_with_two_config_classes_says_whose_keys_are_listed(shown):
    text = shown("plan")
    assert "keys of the config, if it is a TrainConfig: " in text
    assert "keys of the config, if it is an AnnotateConfig: " in text


def test_the_keys_of_a_class_are_listed_once(shown):
    text = shown("prepare")
    assert "sources[N].columns: " in text
    assert "evaluation[N]: evaluation sets" in text
    assert "(same keys as sources[N] above)" in " ".join(text.split())
    assert "--config.evaluation[N].path" not in text


def test_a_number_that_means_none_is_shown_as_none(shown):
    assert "--sweep_index=INT  (default: none)\n" in shown("train")


def test_an_entry_shows_name_type_default_choices_limits_and_meaning(shown):
    text = shown("train")
    for entry in (
        "--config.output=PATH  (required)\n      run folder\n",
        "--config.batch_size=INT  (default: 8; at least 1)\n      packed rows per step, over all",
        "--config.optimizer.b1=FLOAT  (default: 0.9; in [0, 1))\n",
        "--config.optimizer.clip_norm=FLOAT  (default: 1.0; greater than 0)\n",
        "--config.model.family=NAME  (default: bloom; one of bloom, opt)\n      architecture\n",
        "--config.verify_data=BOOL  (default: True)\n      before training, read every shard once",
        "--config.init_from=PATH  (default: empty)\n",
        "--config.validation.benchmarks[N].path=PATH  (required)\n",
        "--sweep_list\n      print the points of the sweep",
    ):
        assert entry in text
    assert (
        "--config.gates=NAME,NAME,...  (default: finished, not_empty, concludes_answer, "
        "no_other_trigger,\n"
        "        no_repetition, "
    ) in shown("annotate")
    assert (
        "--config.sampling=NAME  (one of default, authors)\n"
        "      default: temperature=0.7, top_p=0.95, max_new_tokens=512; authors: "
        "temperature=1.0, top_p=1.0,\n      max_new_tokens=2048\n"
    ) in shown("annotate")
    assert "--config.check_only=BOOL, or --check_only  (default: False)" in shown("prepare")


def run(*words, tail="", **environment):
    command = " ".join([sys.executable, "-m", "teacherlm_jax", *words])
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} {tail}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("--version",)])
def test_help_works_on_a_console_that_supports_only_ascii(words):
    done = run(*words, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("usage: teacherlm", "teacherlm "))


def test_a_name_that_the_console_cannot_show_is_escaped(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from teacherlm_jax import config\n"
        "def get_config(variant):\n"
        "    return config.TrainConfig(output='o', data='d')\n"
        "def sweep():\n"
        "    yield 'größe', {'steps': 3}\n"
    )
    done = run("train", f"--config={tmp_path}/mine.py", "--sweep_list", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"gr\xf6\xdfe" in done.stdout


def test_a_reader_that_closes_the_pipe_ends_the_help_silently():
    # The reader ends before a byte is written, so that the first write already fails.
    done = run("train", "--help", tail="| (exec <&-; sleep 0.1)")
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize(
    ("words", "tail", "status"),
    [
        (("train", "--help"), ">&-", 0),
        (("train", "--help"), ">&- 2>&-", 0),
        (("trane",), "2>&-", 2),
        (("trane",), "2>&1 | (exec <&-; sleep 0.1)", 2),
    ],
)
def test_closed_streams_neither_fail_a_command_nor_change_its_status(words, tail, status):
    done = run(*words, tail=tail)
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize("words", [(), ("--help",), ("train", "--help"), ("status", "--help")])
def test_an_output_that_cannot_be_written_is_one_clear_error(words):
    done = run(*words, tail=">/dev/full")
    message = "teacherlm: standard output: No space left on device; write it to another file\n"
    assert (done.returncode, done.stderr) == (2, message)


@pytest.mark.parametrize("verb", ["", "train"])
def test_help_is_shown_without_loading_jax_or_tensorflow(verb):
    code = (
        "import sys\n"
        "from teacherlm_jax.cli.main import main\n"
        f"status = main({[verb, '--help'][not verb :]})\n"
        "loaded = sorted({'jax', 'orbax', 'pyarrow', 'tensorflow'} & sys.modules.keys())\n"
        "sys.exit(status or ', '.join(loaded) or 0)"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert "teacherlm" in completed.stdout
