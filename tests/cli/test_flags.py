import dataclasses

import pytest

from teacherlm_jax.cli import flags, overrides
from teacherlm_jax.config import (
    ConvertConfig,
    PrepareConfig,
    ReportConfig,
    SamplingConfig,
    TrainConfig,
    authors_sampling,
)
from teacherlm_jax.config.fields import at_least, required
from teacherlm_jax.errors import UserError
from tests.cli.config_files import load, refusal


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


def test_an_int_becomes_a_float_where_the_field_is_a_float(file):
    settings = load(file, "--config.optimizer.learning_rate=1")
    assert type(settings.optimizer.learning_rate) is float


def test_an_unknown_key_is_refused_with_the_nearest_known_one(file):
    assert refusal(file, "--config.optimizer.lerning_rate=1") == (
        "--config.optimizer.lerning_rate: unknown key; "
        "did you mean --config.optimizer.learning_rate?"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("--config.steps=many", "config.steps: expected an int, got 'many'"),
        ("--config.steps=1.5", "config.steps: expected an int, got '1.5'"),
        ("--config.optimizer.b1=a: b", "config.optimizer.b1: expected a float, got 'a: b'"),
        ("--config.verify_data=perhaps", "config.verify_data: expected a bool, got 'perhaps'"),
        ("--config.steps", "--config.steps: no value; write --config.steps=VALUE"),
        (
            "--config.data=s3://b/x",
            "config.data: s3://b/x is not supported; expected paths on this machine or gs://",
        ),
        ("--config.validation.data=s3://b", "config.validation.data: s3://b is not supported"),
        ("--confg.steps=3", "unknown option '--confg.steps=3'"),
        ("--config.steps=0", "config.steps: 0 is not in [1, inf)"),
        ("--config.seed=-1", "config.seed: -1 is not in [0, 2147483647]"),
        ("--config.optimizer.learning_rate=nan", "learning_rate: nan is not in (0, inf)"),
        ("--config.optimizer.clip_norm=0", "clip_norm: 0.0 is not in (0, inf)"),
        ("--config.optimizer.b1=1", "b1: 1.0 is not in [0, 1)"),
        ("--config.optimizer.final_fraction=1.5", "final_fraction: 1.5 is not in [0, 1]"),
        ("--config.model.remat=som", "remat: expected one of 'none', 'dots', 'full', got 'som'"),
        ("--config.model.heads=3", "config.model.width: 64 is not divisible by heads=3"),
        ("--config.optimizer.warmup_steps=50", "warmup_steps: 50 must be less than steps=50"),
        ("--config.data=", "config.data: empty"),
        (
            "--config.optimizer=3",
            "--config.optimizer: is a group of keys; set one of them, such as --config.",
        ),
        ("steps=3", "unexpected argument 'steps=3'; keys look like --config.key=value"),
        ("mine.py:a", "unexpected argument 'mine.py:a'; did you mean --config=mine.py:a?"),
    ],
)
def test_invalid_values_are_refused_by_name(file, override, expected):
    assert expected in refusal(file, override)


def test_a_wrong_type_in_the_file_is_refused_by_name(file):
    assert "config.steps: expected an int, got 'fifty'" in refusal(file, variant="wrong")


def test_a_config_of_another_verb_is_refused(file):
    message = (
        "get_config returned PrepareConfig, but this command takes TrainConfig; choose another"
    )
    assert message in refusal(file, variant="data")


def test_an_error_inside_the_file_names_its_line(file):
    assert f"{file}:6: KeyError" in refusal(file, variant="boom")


def test_a_variant_that_is_no_key_of_the_files_own_dict_is_named(file):
    file.write_text("def get_config(variant):\n    return {'train': 1}[variant]\n")
    assert refusal(file, variant="trian") == (
        f"{file}:2: get_config has no variant 'trian'; write one of its variants after the "
        f"colon, as in --config={file}:VARIANT"
    )
    assert "has no variant ''" in refusal(file)


def test_a_syntax_error_names_its_line(file):
    file.write_text("def get_config(:\n")
    assert f"{file}:1" in refusal(file)


def test_a_missing_file_and_a_missing_flag_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such config file"):
        flags.load([f"--config={tmp_path}/none.py"], (TrainConfig,))
    with pytest.raises(UserError, match="--config is missing"):
        flags.load([], (TrainConfig,))


def test_a_second_config_is_refused(file):
    assert "a second --config" in refusal(file, f"--config={file}")


def test_an_error_names_its_line_when_the_path_is_relative(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    with pytest.raises(UserError, match=r"^student\.py:6: KeyError"):
        flags.load(["--config=student.py:boom"], (TrainConfig,))


def test_keys_of_tuple_items_can_be_set(tmp_path):
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


def test_positional_values_set_their_keys_and_need_no_file():
    words = ["here", "--config.dtype=bfloat16", "there"]
    settings = flags.load(words, (ConvertConfig,), FOLDERS).config
    assert settings == ConvertConfig("here", "there", "bfloat16")


def test_positional_values_replace_those_of_a_file(tmp_path):
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
        ([], "expected SRC DST, got nothing"),
        (["one"], "expected SRC DST, got 'one'"),
        (["one", "two", "three"], "expected SRC DST, got 'one' 'two' 'three'"),
        (["one", "two", "--dtype=bfloat16"], "unknown option '--dtype=bfloat16'"),
        (
            ["one", "two", "--config.dtyp=bfloat16"],
            "--config.dtyp: unknown key; did you mean --config.dtype?",
        ),
        (["one", "two", "--config.dtype=int8"], "config.dtype: expected one of"),
        (["one", ""], "config.output: empty"),
    ],
)
def test_a_wrong_number_of_positional_values_and_wrong_keys_are_refused(words, message):
    with pytest.raises(UserError) as raised:
        flags.load(words, (ConvertConfig,), FOLDERS)
    assert message in str(raised.value)


@dataclasses.dataclass
class Options:
    topology: str = required()
    chips: int = at_least(1, 1)
    check: bool = False


def test_options_are_given_by_name_beside_the_config(file):
    words = [f"--config={file}", "--topology", "v5e:2x2", "--chips=4", "--check"]
    request = flags.load(words, (TrainConfig,), options=(Options,))
    assert request.options[Options] == Options("v5e:2x2", 4, True)
    assert request.config == load(file)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--chips=many", "--chips: expected an int, got 'many'"),
        ("--topology=x --chips=0", r"--chips: 0 is not in \[1, inf\)"),
        ("--topologie=v5e", "unknown option '--topologie=v5e'; did you mean --topology?"),
        ("--topology", "--topology: no value; write --topology=VALUE"),
        ("--topology=", "--topology: no value; write --topology=VALUE"),
    ],
)
def test_invalid_options_are_refused_by_name(file, words, message):
    with pytest.raises(UserError, match=message) as raised:
        flags.load([f"--config={file}", *words.split()], (TrainConfig,), options=(Options,))
    assert "options" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("finished", ("finished",)),
        ("finished,not_empty", ("finished", "not_empty")),
        ("('finished', 'not_empty')", ("finished", "not_empty")),
        ("['--a=1,2']", ("--a=1,2",)),
        ("finished, not_empty", ("finished", "not_empty")),
        ("2024,7b1", ("2024", "7b1")),
        ("1,2", ("1", "2")),
        (r"('\n\n',)", ("\n\n",)),
        ("'Q: '", ("Q: ",)),
        ("", ()),
    ],
)
def test_tuples_are_written_with_bare_commas_or_as_in_python(text, value):
    assert overrides.parse(text, tuple[str, ...]) == value


@pytest.mark.parametrize("text", ["\n\n", "\nQ:", " Q:", "A:,Q: ", "a,\t"])
def test_white_space_around_a_text_is_neither_dropped_nor_kept_without_quotes(text):
    with pytest.raises(
        ValueError, match=r"white space .* as in Python and in quotes: \('"
    ) as error:
        overrides.parse(text, tuple[str, ...])
    written = str(error.value).partition("in quotes: ")[2]
    assert overrides.parse(written, tuple[str, ...]) == tuple(text.split(","))


def test_a_bool_is_set_by_its_name_alone_and_unset_by_no(file):
    assert load(file, "--config.verify_data").verify_data
    assert not load(file, "--noconfig.verify_data").verify_data
    assert not load(file, "--config.verify_data=False").verify_data


def test_a_group_of_keys_is_set_by_the_name_of_its_settings(sampling):
    assert sampling().temperature == 0
    assert sampling("--config.sampling=authors") == authors_sampling()
    assert sampling("--config.sampling=default") == SamplingConfig()


def test_a_single_key_is_set_beside_the_name_in_any_order(sampling):
    words = ["--config.sampling=authors", "--config.sampling.max_new_tokens=64"]
    expected = dataclasses.replace(authors_sampling(), max_new_tokens=64)
    assert sampling(*words) == sampling(*reversed(words)) == expected


@pytest.mark.parametrize("text", ["=autors", "=", ""])
def test_an_unknown_name_of_settings_is_refused_with_the_known_ones(sampling, text):
    with pytest.raises(UserError) as raised:
        sampling(f"--config.sampling{text}")
    assert "config.sampling: expected one of 'default', 'authors', got '" in str(raised.value)
    assert "as in --config.sampling.temperature=VALUE" in str(raised.value)


def test_an_override_without_a_value_does_not_consume_the_next_one(file):
    assert "--config.data: no value" in refusal(file, "--config.data", "--config.steps=70")
    assert load(file, "--config.verify_data").verify_data


@pytest.mark.parametrize(
    "words",
    [
        ["--samples", "/", "/tmp"],
        ["--samples=/,/tmp"],
        ["--samples", "/,/tmp", "--config.limit=5"],
        ["--config.samples=/,/tmp"],
    ],
)
def test_a_key_for_several_paths_takes_words_or_commas(words):
    command = flags.load(words, (ReportConfig,), needs_file=False)
    assert command.config.samples == ("/", "/tmp")


def test_a_key_for_several_paths_without_a_value_is_refused():
    with pytest.raises(UserError, match="^--samples: no value; write --samples=VALUE$"):
        flags.load(["--samples", "--blind"], (ReportConfig,), needs_file=False)
