import dataclasses

import pytest

from teacherlm_jax.cli import flags
from teacherlm_jax.config import ConvertConfig, PrepareConfig, TrainConfig
from teacherlm_jax.config.fields import at_least
from teacherlm_jax.errors import UserError

CONFIG = """
from teacherlm_jax import config

def get_config(variant=""):
    if variant == "boom":
        return {}["missing"]
    if variant == "data":
        return config.PrepareConfig()
    settings = config.TrainConfig(output="runs/x", data="data/x", steps=50)
    if variant == "wrong":
        settings.steps = "fifty"
    return settings
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "student.py"
    path.write_text(CONFIG)
    return path


def load(file, *overrides, variant=""):
    return flags.load([f"--config={file}:{variant}", *overrides], (TrainConfig,)).config


def refusal(file, *overrides, variant=""):
    with pytest.raises(UserError) as raised:
        load(file, *overrides, variant=variant)
    return str(raised.value)


def test_overrides_reach_every_depth_with_their_types(file):
    settings = load(
        file,
        "--config.steps=70",
        "--config.optimizer.learning_rate=2e-5",
        "--config.model.family=bloom",
        "--config.mesh.tensor=2",
        "--config.output=a folder; with $signs and 'quotes'",
    )
    assert (settings.steps, settings.mesh.tensor) == (70, 2)
    assert settings.optimizer.learning_rate == 2e-5
    assert settings.output == "a folder; with $signs and 'quotes'"
    assert settings.data == "data/x"


def test_whole_numbers_serve_as_floats(file):
    settings = load(file, "--config.optimizer.learning_rate=1")
    assert type(settings.optimizer.learning_rate) is float


def test_an_unknown_key_is_refused_with_the_nearest_known_one(file):
    message = refusal(file, "--config.optimizer.lerning_rate=1")
    assert "unknown key optimizer.lerning_rate" in message
    assert "did you mean optimizer.learning_rate?" in message
    assert str(file) in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("--config.steps=many", "config.steps: 'many' is no int"),
        ("--config.steps=1.5", "config.steps: '1.5' is no int"),
        ("--config.optimizer.b1=a: b", "config.optimizer.b1: 'a: b' is no float"),
        ("--config.verify_data=perhaps", "config.verify_data: 'perhaps' is no bool"),
        ("--config.steps", "--config.steps: no value behind it; give one, as in --config.steps=V"),
        ("--config.data=gs://b/x", "config.data: gs://b/x lies in a store; only folders of this"),
        ("--config.validation.data=s3://b", "config.validation.data: s3://b lies in a store"),
        ("--confg.steps=3", "'--confg.steps=3': not understood"),
        ("--config.steps=0", "config.steps: 0 is not in [1, inf)"),
        ("--config.seed=-1", "config.seed: -1 is not in [0, 2147483647]"),
        ("--config.optimizer.learning_rate=nan", "learning_rate: nan is not in (0, inf)"),
        ("--config.optimizer.clip_norm=0", "clip_norm: 0.0 is not in (0, inf)"),
        ("--config.optimizer.b1=1", "b1: 1.0 is not in [0, 1)"),
        ("--config.optimizer.final_fraction=1.5", "final_fraction: 1.5 is not in [0, 1]"),
        ("--config.model.remat=som", "config.model.remat: 'som' is none of"),
        ("--config.model.heads=3", "config.model.width: 64 is not divisible by heads=3"),
        ("--config.optimizer.warmup_steps=50", "config.optimizer.warmup_steps: 50 leaves nothing"),
        ("--config.data=", "config.data: empty"),
        ("--config.optimizer=3", "optimizer is a group of keys"),
        ("steps=3", "'steps=3': not understood"),
    ],
)
def test_impossible_values_are_refused_by_name(file, override, expected):
    assert expected in refusal(file, override)


def test_a_wrong_type_inside_the_file_is_refused_by_name(file):
    assert "config.steps: 'fifty' is no int" in refusal(file, variant="wrong")


def test_a_config_of_another_verb_is_refused(file):
    said = "get_config gives PrepareConfig, but this verb takes TrainConfig; name another"
    assert said in refusal(file, variant="data")


def test_an_error_inside_the_file_names_its_line(file):
    assert f"{file}:6: KeyError" in refusal(file, variant="boom")


def test_a_file_that_is_no_python_names_its_line(file):
    file.write_text("def get_config(:\n")
    assert f"{file}:1" in refusal(file)


def test_a_missing_file_and_a_missing_flag_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such config file"):
        flags.load([f"--config={tmp_path}/none.py"], (TrainConfig,))
    with pytest.raises(UserError, match="--config is missing"):
        flags.load([], (TrainConfig,))


def test_every_key_of_every_config_is_described():
    text = flags.describe(PrepareConfig)
    for key in ("output", "length", "vocabulary.size", "sources[N].limit", "mixtures[N].forms"):
        assert f"--config.{key}=" in text


def test_a_second_config_is_refused(file):
    assert "a second --config" in refusal(file, f"--config={file}")


def test_an_error_names_its_line_when_the_file_is_given_from_here(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    with pytest.raises(UserError, match=r"^student\.py:6: KeyError"):
        flags.load(["--config=student.py:boom"], (TrainConfig,))


def test_fields_of_tuple_items_can_be_set(tmp_path):
    path = tmp_path / "data.py"
    path.write_text(
        "from teacherlm_jax.config import *\n"
        "def get_config(variant):\n"
        "    return PrepareConfig(output='o', sources=(SourceConfig('a', 'a.jsonl'),),\n"
        "        mixtures=(MixtureConfig('m'),), vocabulary=VocabularyConfig('v'))\n"
    )
    settings = flags.load(
        [f"--config={path}", "--config.sources[0].limit=5"], (PrepareConfig,)
    ).config
    assert settings.sources[0].limit == 5
    with pytest.raises(UserError, match=r"mixtures\[0\].sources: no source is named 'b'"):
        flags.load([f"--config={path}", "--config.mixtures[0].sources=b"], (PrepareConfig,))


FOLDERS = {"source": "SRC", "output": "DST"}


def test_values_without_a_name_go_to_their_keys_and_need_no_file():
    words = ["here", "--config.dtype=bfloat16", "there"]
    settings = flags.load(words, (ConvertConfig,), FOLDERS).config
    assert settings == ConvertConfig("here", "there", "bfloat16")


def test_values_without_a_name_come_before_those_of_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from teacherlm_jax.config import *\n"
        "def get_config(variant):\n"
        "    return ConvertConfig(source='x', output='y', shard_megabytes=7)\n"
    )
    settings = flags.load(
        ["here", "there", "--config", str(path)], (ConvertConfig,), FOLDERS
    ).config
    assert settings == ConvertConfig("here", "there", shard_megabytes=7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "wanted SRC DST, found nothing"),
        (["one"], "wanted SRC DST, found 'one'"),
        (["one", "two", "three"], "wanted SRC DST, found 'one' 'two' 'three'"),
        (["one", "two", "--dtype=bfloat16"], "'--dtype=bfloat16': not understood"),
        (["one", "two", "--config.dtyp=bfloat16"], "the command line: unknown key dtyp; did you"),
        (["one", "two", "--config.dtype=int8"], "config.dtype: 'int8' is none of"),
        (["one", ""], "config.output: empty"),
    ],
)
def test_a_wrong_number_of_values_and_wrong_keys_are_refused(words, message):
    with pytest.raises(UserError) as raised:
        flags.load(words, (ConvertConfig,), FOLDERS)
    assert message in str(raised.value)


@dataclasses.dataclass
class Options:
    topology: str = ""
    chips: int = at_least(1, 1)
    check: bool = False


def test_options_stand_beside_the_config_by_their_names_alone(file):
    words = [f"--config={file}", "--topology", "v5e:2x2", "--chips=4", "--check"]
    request = flags.load(words, (TrainConfig,), options=(Options,))
    assert request.options[Options] == Options("v5e:2x2", 4, True)
    assert request.config == load(file)
    assert "--chips=1" in flags.describe_options(Options)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--chips=many", "--chips: 'many' is no int"),
        ("--chips=0", r"--chips: 0 is not in \[1, inf\)"),
        ("--topologie=v5e", "'--topologie=v5e': not understood; .*; did you mean --topology?"),
        ("--topology", "--topology: no value behind it; give one, as in --topology=VALUE"),
        ("--topology=", "--topology: no value behind it"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_name(file, word, message):
    with pytest.raises(UserError, match=message) as raised:
        flags.load([f"--config={file}", word], (TrainConfig,), options=(Options,))
    assert "options" not in str(raised.value)


def test_an_override_without_its_value_does_not_take_the_next_one_for_it(file):
    assert "--config.data: no value behind it" in refusal(
        file, "--config.data", "--config.steps=70"
    )
    assert load(file, "--config.verify_data").verify_data
