"""The teacher whose shape an annotation is planned for."""

import dataclasses

import jax
import pytest
from flax import nnx

from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.cli import main
from teacherlm_jax.config import AnnotateConfig, MeshConfig, TeachersConfig
from teacherlm_jax.models import registry
from teacherlm_jax.planning import annotation_programs
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
