"""Mutation testing: the choice of files, and recorded figures that are out of date."""

import copy

import pytest

from benchmarks import mutant_files

SETTINGS = {
    "seed": 0,
    "operators": ["AddNot"],
    "file": [
        {"source": "data/packing.py", "tests": ["test_packing.py"], "equivalent": {"a = 1": "why"}},
        {"source": "data/prompts.py", "tests": ["test_prompts.py"]},
        {"source": "evaluation/rank.py", "tests": ["test_rank.py"], "sample": 9},
    ],
}
TEXTS = {path: path for path in ("data/packing.py", "data/prompts.py", "evaluation/rank.py")}
TEXTS |= {f"test_{name}.py": name for name in ("packing", "prompts", "rank")}


def recorded():
    """The figures of all files, as they are recorded after a measurement."""
    return {
        file["source"]: {"digest": mutant_files.digest(file, SETTINGS, TEXTS.__getitem__)}
        for file in SETTINGS["file"]
    }


def chosen(*words, settings=SETTINGS, texts=TEXTS, before=None):
    known = recorded() if before is None else before
    files = mutant_files.chosen(words, settings, known, texts.__getitem__)
    return [file["source"] for file in files]


def test_names_select_files_by_a_part_of_their_path():
    assert chosen() == ["data/packing.py", "data/prompts.py", "evaluation/rank.py"]
    assert chosen("data/", "rank") == chosen()
    assert chosen("rank") == ["evaluation/rank.py"]


def test_a_misspelt_name_or_option_is_refused_with_the_known_files(capsys):
    for words in (["rnak"], ["rank", "rnak"], ["--chnaged"]):
        with pytest.raises(SystemExit, match="2"):
            chosen(*words)
    assert "rnak: expected a part of one of these paths: data/packing.py" in capsys.readouterr().err


def test_nothing_has_changed_after_a_measurement():
    assert chosen("--changed") == []


def test_figures_without_a_digest_or_of_no_file_are_out_of_date():
    assert chosen("--changed", before={"data/packing.py": {"sha256": "old"}}) == chosen()


@pytest.mark.parametrize("path", ["data/prompts.py", "test_prompts.py"])
def test_a_changed_source_or_test_makes_the_figures_of_its_file_out_of_date(path):
    texts = TEXTS | {path: "other"}
    assert chosen("--changed", texts=texts) == ["data/prompts.py"]
    assert chosen("--changed", "data", texts=texts) == ["data/prompts.py"]
    assert chosen("--changed", "rank", texts=texts) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("equivalent", {}), ("sample", 3), ("deselect", ["test_a"])],
)
def test_changed_settings_of_a_file_make_its_figures_out_of_date(key, value):
    settings = copy.deepcopy(SETTINGS)
    settings["file"][0][key] = value
    assert chosen("--changed", settings=settings) == ["data/packing.py"]


@pytest.mark.parametrize(
    ("key", "value"), [("operators", ["AddNot", "NumberReplacer"]), ("seed", 1)]
)
def test_changed_settings_of_all_files_make_all_figures_out_of_date(key, value):
    assert chosen("--changed", settings=SETTINGS | {key: value}) == chosen()
