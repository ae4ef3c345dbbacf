"""The teacher whose shape an annotation is planned for."""

import dataclasses
import json
import subprocess
import sys

import jax
import pytest
from flax import nnx

from benchmarks import topology
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.cli import main
from teacherlm_jax.config import AnnotateConfig, MeshConfig, TeachersConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.models import registry
from teacherlm_jax.planning import annotation_programs
from teacherlm_jax.storage import objects
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece

SHAPE = registry.shape("bloom-tiny", vocab_size=408, attention="xla")


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Folder with one model, as a run folder `run` and as a Hugging Face folder `hf`."""
    folder = tmp_path_factory.mktemp("teachers")
    text = ["one two three"] * 9
    vocabulary = train_sentencepiece(text, folder / "run/vocabulary", size=400, seed=0)
    params = nnx.to_pure_dict(nnx.state(registry.build(SHAPE, nnx.Rngs(0))))
    checkpoints = Checkpoints(folder / "run", keep=1)
    meta = {"model": dataclasses.asdict(SHAPE), "vocabulary": vocabulary.digest}
    checkpoints.save(1, params, None, meta)
    checkpoints.close()
    assert main.main(["convert", str(folder / "run"), str(folder / "hf")]) == 0
    return folder


@pytest.mark.parametrize("path", ["run", "run/checkpoints/1", "hf"])
def test_an_annotation_can_be_planned_for_every_kind_of_model_folder(teachers, path):
    config = AnnotateConfig(
        output="unused",
        teachers=TeachersConfig(cot=str(teachers / path)),
        mesh=MeshConfig(data=-1),
        attention="xla",
    )
    planned = annotation_programs.prepare(config, jax.devices(), 32, "")
    sizes = ("family", "layers", "width", "heads", "vocab_size")
    for name in sizes:
        assert getattr(planned.model, name) == getattr(SHAPE, name)
    assert planned.assumed == ()


def test_teachers_at_addresses_are_not_planned(teachers):
    served = TeachersConfig(mistake="http://localhost:8000/v1#m", fundamental="http://a/v1#m")
    config = AnnotateConfig(output="unused", teachers=served, mesh=MeshConfig(data=-1))
    with pytest.raises(UserError, match="all teachers are on servers"):
        annotation_programs.prepare(config, jax.devices(), 32, "")
    config.teachers.cot = str(teachers / "run")
    planned = annotation_programs.prepare(config, jax.devices(), 32, "")
    assert (planned.kinds, planned.members, planned.model.width) == (("cot",), 1, SHAPE.width)


@pytest.mark.parametrize("path", ["run", "run/checkpoints/1", "hf"])
def test_an_annotation_can_be_planned_for_teachers_in_a_bucket(teachers, bucket, path):
    upload(teachers, bucket)
    config = AnnotateConfig(
        output="unused",
        teachers=TeachersConfig(cot=f"{bucket}/{path}", mistake=str(teachers / "run")),
        mesh=MeshConfig(data=-1),
    )
    planned = annotation_programs.prepare(config, jax.devices(), 32, "")
    assert planned.model.width == SHAPE.width
    nowhere = dataclasses.replace(config, teachers=TeachersConfig(cot=f"{bucket}/none"))
    with pytest.raises(UserError, match=f"^{bucket}/none: no such folder; .*; or name its shape"):
        annotation_programs.prepare(nowhere, jax.devices(), 32, "")


def test_the_plan_command_reads_a_teacher_in_a_bucket_and_writes_the_plan_there(
    teachers, bucket, tmp_path
):
    environment = topology.environment("v5litepod-4")
    if environment is None:
        pytest.skip(f"no libtpu in {topology.FOLDER}; run make setup-test to install it")
    upload(teachers, bucket)
    (tmp_path / "mine.py").write_text(
        "from teacherlm_jax.config import AnnotateConfig, SourceConfig, TeachersConfig\n"
        "def get_config(variant):\n"
        f'    teachers = TeachersConfig(cot="{bucket}/hf")\n'
        f'    return AnnotateConfig(output="{bucket}/run", source=SourceConfig("a", "a"),\n'
        '                          teachers=teachers, slots=8, attention="xla")\n'
    )
    words = ["plan", f"--config={tmp_path}/mine.py", "--topology=v5e:2x2", "--length=64"]
    code = "import sys; from teacherlm_jax.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"{bucket}/run.plan/v5e-2x2.json" in done.stdout
    figures = json.loads(objects.read(f"{bucket}/run.plan/v5e-2x2.json"))
    params = nnx.state(registry.build(SHAPE, nnx.Rngs(0)))
    assert figures["parameters"] == sum(array.size for array in jax.tree.leaves(params))
    assert figures["assumed"] == []


def upload(folder, address):
    """Copy a folder to a bucket."""
    for path in folder.rglob("*"):
        if path.is_file():
            objects.upload(path, f"{address}/{path.relative_to(folder)}")
