"""Folders that `Dataset.save_to_disk` and `DatasetDict.save_to_disk` wrote."""

import pytest

from teacherlm_jax.config import SourceConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.sources import raw_rows
from teacherlm_jax.storage import files

from .row_files import ROWS, read, values, write_arrow


def write_dataset(folder, shards, split="train", **state):
    """Write a folder as `Dataset.save_to_disk` does."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{n:05}-of-{len(shards):05}.arrow" for n in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        write_arrow(folder / name, shard)
    described = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": "c4f3db84c2782a9d",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    files.write_json(folder / "state.json", described | state)
    files.write_json(folder / "dataset_info.json", {"citation": "", "features": {}, "splits": None})


def test_files_of_a_saved_dataset_are_read_in_the_order_of_its_state(tmp_path):
    write_dataset(tmp_path / "saved", [ROWS[:3], ROWS[3:]])
    located = read(tmp_path, "saved")
    assert [row for _, row in located] == ROWS
    assert located[3][0] == (str(tmp_path / "saved" / "data-00001-of-00002.arrow"), 1)
    state = files.read_json(tmp_path / "saved" / "state.json")
    files.write_json(
        tmp_path / "saved" / "state.json", state | {"_data_files": state["_data_files"][::-1]}
    )
    assert values(tmp_path, "saved") == ROWS[3:] + ROWS[:3]
    opened = raw_rows.open_rows(SourceConfig("set", "saved"), str(tmp_path))
    assert [path.name for path in opened.beside] == ["state.json"]


def test_a_split_of_a_saved_dictionary_is_read(tmp_path):
    write_dataset(tmp_path / "saved" / "train", [ROWS])
    write_dataset(tmp_path / "saved" / "test", [ROWS[:1]], split="test")
    files.write_json(tmp_path / "saved" / "dataset_dict.json", {"splits": ["train", "test"]})
    assert values(tmp_path, "saved") == ROWS
    assert values(tmp_path, "saved", split="test") == ROWS[:1]
    with pytest.raises(UserError, match=r"saved: no split 'dev'; set split to one of train, test"):
        read(tmp_path, "saved", split="dev")


def test_a_saved_dataset_with_another_split_is_refused(tmp_path):
    write_dataset(tmp_path / "saved", [ROWS], split="validation")
    with pytest.raises(UserError, match=r"saved: contains the split 'validation', not 'train'"):
        read(tmp_path, "saved")
    assert values(tmp_path, "saved", split="validation") == ROWS
    write_dataset(tmp_path / "nameless", [ROWS], split=None)
    assert values(tmp_path, "nameless") == ROWS


def test_a_saved_dataset_with_a_separate_order_is_refused(tmp_path):
    write_dataset(tmp_path / "saved", [ROWS], _indices_data_files=[{"filename": "indices.arrow"}])
    with pytest.raises(
        UserError, match=r"saved: the order of its rows is saved in a separate file"
    ):
        read(tmp_path, "saved")


@pytest.mark.parametrize("state", [[], {}, {"_data_files": None}, {"_data_files": [1]}])
def test_a_saved_dataset_whose_state_lists_no_files_is_refused(tmp_path, state):
    write_dataset(tmp_path / "saved", [ROWS])
    files.write_json(tmp_path / "saved" / "state.json", state)
    with pytest.raises(UserError, match=r"state.json: no list _data_files, as `save_to_disk`"):
        read(tmp_path, "saved")
    files.write_json(tmp_path / "saved" / "dataset_dict.json", state)
    with pytest.raises(UserError, match=r"dataset_dict.json: no list splits, as `save_to_disk`"):
        read(tmp_path, "saved")


def test_a_missing_file_of_a_saved_dataset_is_named(tmp_path):
    write_dataset(tmp_path / "saved", [ROWS])
    (tmp_path / "saved" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(UserError, match=r"data-00000-of-00001.arrow: no such file"):
        read(tmp_path, "saved")
