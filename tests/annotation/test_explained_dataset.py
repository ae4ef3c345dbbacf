"""From `annotate` to a dataset that is loaded in one line."""

import dataclasses

import datasets

from teacherlm_jax.cli import main
from teacherlm_jax.pipelines import verbs


def test_a_run_of_annotate_becomes_a_dataset_of_all_its_samples(
    teachers, make_config, samples, tmp_path
):
    config = make_config(cot=teachers[0], mistake=teachers[1])
    config = dataclasses.replace(config, output=str(tmp_path / "run"))
    result = verbs.run("annotate", config)
    assert main.main(["convert", config.output, str(tmp_path / "data")]) == 0
    cached = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    rows = datasets.load_dataset(str(tmp_path / "data"), **cached)
    assert rows["id"][:] == [sample.id for sample in samples]
    first = rows[0]
    assert set(first["explanations"]) == {"cot", "fundamental", "mistake"}
    assert first["annotations"]["cot"]["model_digest"] == result["kinds"]["cot"]["model_digest"]
    assert set(first["annotations"]["mistake"]["gates"]) == set(config.gates)
    assert "| `synthetic` | " in (tmp_path / "data/README.md").read_text()
    written = f"{config.output}/samples/*.jsonl"  # of samples that have the same keys
    assert list(datasets.load_dataset("json", data_files=written, **cached)) == list(rows)
