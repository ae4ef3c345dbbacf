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
    """A folder with one model, as a run folder `ours` and as a Hugging Face folder `theirs`."""
    folder = tmp_path_factory.mktemp("teachers")
    text = ["one two three"] * 9
    vocabulary = train_sentencepiece(text, folder / "ours/vocabulary", size=400, seed=0)
    params = nnx.to_pure_dict(nnx.state(registry.build(SHAPE, nnx.Rngs(0))))
    checkpoints = Checkpoints(folder / "ours", keep=1)
    meta = {"model": dataclasses.asdict(SHAPE), "vocabulary": vocabulary.digest}
    checkpoints.save(1, params, None, meta)
    checkpoints.close()
    assert main.main(["convert", str(folder / "ours"), str(folder / "theirs")]) == 0
    return folder


@pytest.mark.parametrize("path", ["ours", "ours/checkpoints/1", "theirs"])
def test_an_annotation_is_planned_for_a_teacher_of_any_kind(teachers, path):
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
