from teacherlm_jax.config import BenchmarkConfig, TrainConfig, ValidationConfig
from teacherlm_jax.data import prepared as prepared_folder
from teacherlm_jax.storage import files
from teacherlm_jax.training.run_inputs import inputs


def test_every_input_of_a_run_has_a_digest_that_follows_its_content(prepared, tmp_path):
    (tmp_path / "set.jsonl").write_text("{}\n")
    config = TrainConfig(
        data=str(prepared),
        validation=ValidationConfig(
            root=str(tmp_path),
            benchmarks=(BenchmarkConfig("set", "set.jsonl"),),
            data=str(prepared),
        ),
    )
    before = inputs(config)
    digest = prepared_folder.open(prepared).digest
    assert before == {
        "data": digest,
        "validation.data": digest,
        "validation.benchmarks.set": files.file_digest(tmp_path / "set.jsonl"),
    }
    (tmp_path / "set.jsonl").write_text('{"id": "a"}\n')
    after = inputs(config)
    assert {key for key in before if before[key] != after[key]} == {"validation.benchmarks.set"}
