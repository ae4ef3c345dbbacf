"""Two processes of four simulated devices that share one teacher, as on the hosts of a slice."""

import dataclasses
import shutil

from teacherlm_jax.config import MeshConfig
from teacherlm_jax.pipelines import verbs
from teacherlm_jax.storage import files
from tests.training.launches import Launch

CONFIG = """
from teacherlm_jax.config import *

def get_config(variant):
    return {config!r}
"""


def _contents(run):
    return {
        f"{part}/{name}": files.read_bytes(run / part / name)
        for part in ("texts/cot", "texts/mistake", "samples")
        for name in files.names(run / part)
    }


def test_two_processes_with_a_sharded_teacher_write_what_is_missing(
    make_config, teachers, tmp_path
):
    config = dataclasses.replace(
        make_config(cot=teachers[0], mistake=teachers[1]),
        mesh=MeshConfig(data=2, fsdp=4),
        gates=("answer_check", "not_empty"),
    )
    (tmp_path / "annotate.py").write_text(CONFIG.format(config=config))
    alone = tmp_path / "alone"
    verbs.run("annotate", dataclasses.replace(config, output=str(alone)))
    expected = _contents(alone)
    assert len(expected) == 9
    shutil.copytree(alone, tmp_path / "both")
    shutil.rmtree(tmp_path / "both" / "texts" / "mistake")
    complete = tmp_path / "both" / "texts" / "cot" / "part-00001.jsonl"
    complete.unlink()
    complete = complete.with_name("part-00002.jsonl")
    rows = [row for _, row in files.read_jsonl(complete)]
    assert all("answer_check" in row["gates"] for row in rows)
    for row in rows:  # only their verdicts are missing
        del row["gates"]["answer_check"]
    files.write_jsonl(complete.with_name("part-00002.jsonl.partial"), rows)
    complete.unlink()

    both = Launch(tmp_path, "both", verb="annotate", config="annotate")
    status, shown = both.end()
    assert status == 0, shown
    assert _contents(both.run) == expected
    log = (both.run / "log.txt").read_text()
    assert "22 in total, 7 on disk" in log
    assert "22/22 explanations" in log
    assert files.read_json(both.run / "result.json")["texts"] == 15
