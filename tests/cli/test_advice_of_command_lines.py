"""Advice in error messages about config files, keys and sweeps, which works when it is followed."""

import re

import pytest

from teacherlm_jax.cli import flags, main
from teacherlm_jax.config import TrainConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.verbs import VERBS
from tests.cli.config_files import CONFIG, SWEEP, load, refusal


def test_an_existing_config_file_is_loaded(tmp_path, file):
    assert "; name an existing one, such as " in refusal(tmp_path / "absent.py")
    assert load(file).steps == 50


@pytest.mark.parametrize(
    "name", [name for name, verb in VERBS.items() if verb.needs_file and not verb.positional]
)
def test_a_command_accepts_the_config_that_it_suggests(name, capsys):
    words = [name, *["--topology=v5e:8x8"] * (name == "plan")]
    assert main.main(words) == 2
    advice = r": --config is missing; name a config file, as in (--config=\S+)\n$"
    suggested = re.search(advice, capsys.readouterr().err)[1]
    assert main.main([*words, suggested, "--validate"]) == 0


def test_a_plan_for_gpus_accepts_the_option_that_it_suggests(capsys):
    words = ["plan", "--topology=gpu:4090"]
    assert main.main(words) == 2
    message = capsys.readouterr().err
    assert "--config=" not in message
    option = re.search(r"; name the config file of a run, or add (--\w+), which", message)[1]
    assert main.main([*words, option, "--validate"]) == 0


def test_a_config_file_is_loaded_after_its_name_ends_in_py(tmp_path):
    (tmp_path / "mine.txt").write_text(CONFIG)
    assert refusal(tmp_path / "mine.txt").endswith("; the name of a config file ends in .py")
    (tmp_path / "mine.txt").rename(tmp_path / "mine.py")
    assert load(tmp_path / "mine.py").steps == 50


def test_a_config_file_is_loaded_after_a_function_is_added(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG.replace("get_config", "config_of"))
    assert refusal(path).endswith("no function get_config(variant); add one that returns a config")
    path.write_text(
        path.read_text() + "\ndef get_config(variant):\n    return config_of(variant)\n"
    )
    assert load(path).steps == 50


def test_a_config_is_loaded_with_another_variant(file):
    assert refusal(file, variant="data").endswith("; choose another variant or command")
    assert load(file, variant="").steps == 50


@pytest.mark.parametrize("wrong", ["--config.stpes=9", "--config.optimizer.learning_rat=9"])
def test_the_key_that_a_message_suggests_is_set(file, wrong):
    key = re.search(r"; did you mean (--config\.[\w.]+)\?$", refusal(file, wrong))[1]
    assert load(file, f"{key}=9")


def test_the_key_inside_a_group_that_a_message_names_is_set(file):
    message = refusal(file, "--config.mesh=2")
    key = re.search(r"; set one of them, such as (--config\.[\w.]+)$", message)[1]
    assert load(file, f"{key}=2").mesh.data == 2


def test_a_value_is_written_as_a_message_says(file):
    message = refusal(file, "--config.steps")
    form = re.search(r"; write (--config\.steps=VALUE)$", message)[1]
    assert load(file, form.replace("VALUE", "7")).steps == 7


def sweep_of(body):
    return f"def sweep():\n    {body}\n"


# A config file's sweep, the advice of its message, and a sweep that follows it.
SWEEPS = {
    "none": ("", "add one that yields (name, {key: value})"),
    "form": (sweep_of("yield 'a'"), "expected (name, {key: value})"),
    "name": (sweep_of("yield 'a/b', {}"), "use letters, digits, _, - and ."),
    "twice": (sweep_of("return [('a', {}), ('a', {})]"), "give each a name of its own"),
    "empty": (sweep_of("return []"), "expected at least one (name, {key: value})"),
}
RIGHT = sweep_of("return [('a-1_b.c', {'seed': 1}), ('b', {'seed': 2})]")


@pytest.mark.parametrize("fault", SWEEPS)
def test_a_sweep_runs_after_it_is_changed_as_a_message_says(command, capsys, fault):
    text, advice = SWEEPS[fault]
    assert command("--sweep_all", text=text) == 2
    assert f"; {advice}" in capsys.readouterr().err
    assert command("--sweep_all", text=RIGHT) == 0
    assert [config.seed for config in command.trained] == [1, 2]


def test_the_points_that_a_message_leads_to_run(command, capsys):
    assert command("--sweep_index=9") == 2
    message = capsys.readouterr().err
    assert "has the points 0 to 1; --sweep_list shows them" in message
    assert command("--sweep_list") == 0
    assert re.findall(r"(?m)^ +(\d)  rate", capsys.readouterr().out) == ["0", "1"]
    assert command("--sweep_index=1") == 0


@pytest.mark.parametrize("way", ["change sweep()", "run a config without a sweep"])
def test_a_swept_key_is_set_as_a_message_says(command, capsys, way):
    assert command("--sweep_index=0", "--config.steps=9") == 2
    assert way in capsys.readouterr().err
    if way == "change sweep()":
        assert command("--sweep_index=0", text=SWEEP.replace('"steps": 7', '"steps": 9')) == 0
    else:
        assert command("--config.steps=9", text="") == 0
    assert command.trained[-1].steps == 9


def test_both_ways_to_run_a_sweep_that_a_message_names_work(command, capsys):
    assert command() == 2
    words = re.findall(r"--sweep_(?:index=0|all|list)", capsys.readouterr().err)
    assert words == ["--sweep_index=0", "--sweep_all", "--sweep_list"]
    for word in words:
        assert command(word) == 0


def test_a_command_runs_after_the_words_are_changed_as_messages_say(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    right = ["train", f"--config={path}", "--config.steps=9", "--validate"]

    def run(*words):
        status = main.main(list(words))
        return status, capsys.readouterr().err

    assert run(*right)[0] == 0
    wrong = {
        "give only one": (*right, f"--config={path}"),
        "name a config file, as in --config=": ("train",),
        "keys look like --config.key=value": (*right[:2], "steps=9"),
        "known: ": ("trian", *right[1:]),
    }
    for advice, words in wrong.items():
        status, message = run(*words)
        assert status == 2 and f"; {advice}" in message, message
    assert "train" in run("trian")[1].partition("; known: ")[2]


def test_a_single_key_is_set_as_the_message_about_its_group_says(sampling):
    with pytest.raises(UserError) as raised:
        sampling("--config.sampling=other")
    form = r"; single keys are set as in (--config\.sampling\.temperature)=VALUE$"
    assert sampling(f"{re.search(form, str(raised.value))[1]}=0.5").temperature == 0.5


def test_the_option_that_a_message_suggests_is_known(file):
    name = re.search(r"; did you mean (--\w+)\?$", refusal(file, "--confg=x.py"))[1]
    assert flags.load([f"{name}={file}"], (TrainConfig,)).config.steps == 50


def test_a_key_of_the_form_that_a_message_shows_is_set(file):
    form = re.search(r"; keys look like (--config\.key=value)$", refusal(file, "--zzzz=7"))[1]
    assert load(file, form.replace("key=value", "steps=7")).steps == 7


def test_the_points_of_a_sweep_are_listed_from_the_config_file_that_is_named(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main.main(["report", "--sweep_list"]) == 2
    option = re.search(r"name it, as in (--config=(\S+))\n", capsys.readouterr().err)
    (tmp_path / option[2]).write_text(
        "from teacherlm_jax import config\n\n"
        "def get_config(variant):\n    return config.ReportConfig(output='here')\n\n"
        "def sweep():\n    yield 'p0', {'title': 'x'}\n    yield 'p1', {'title': 'y'}\n"
    )
    assert main.main(["report", option[1], "--sweep_list"]) == 0
    assert re.findall(r"(?m)^ +\d  (\w+)", capsys.readouterr().out) == ["p0", "p1"]
