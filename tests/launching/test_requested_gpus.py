"""The mesh of a job for Slurm or SkyPilot is checked against the GPUs that the job asks for."""

import pytest

from teacherlm_jax.launching import requested_gpus

from .fake_schedulers import ROOT, TRAIN, launch

SLURM, SKYPILOT = ROOT / "launch" / "slurm.sbatch", ROOT / "launch" / "skypilot.yaml"


@pytest.mark.parametrize(
    ("flags", "gpus"),
    [
        ([], 16),
        (["--nodes=4"], 32),
        (["--nodes=4", "--nodes=1"], 8),
        (["--gpus-per-node=h100:4"], 8),
        (["--nodes 4"], 32),
        (["--nodes=2-4"], 0),
        (["-N4"], 0),
        (["--gpus=8"], 0),
        (["--gres=gpu:4"], 0),
    ],
)
def test_gpus_of_slurm_are_those_of_the_script_and_the_flags(flags, gpus):
    assert requested_gpus.of_slurm(SLURM, flags) == gpus


@pytest.mark.parametrize(
    ("flags", "gpus"),
    [
        ([], 16),
        (["--num-nodes=1"], 8),
        (["--gpus=A100:4"], 8),
        (["--gpus L4"], 2),
        (["--gpus=tpu-v5e-8"], 0),
    ],
)
def test_gpus_of_skypilot_are_those_of_the_file_and_the_flags(flags, gpus):
    assert requested_gpus.of_skypilot(SKYPILOT, flags) == gpus


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resources: [",
        "resources: {}",
        "resources: {accelerators: {H100: 8}}",
        "num_nodes: some\nresources: {accelerators: H100}",
        "#SBATCH --comment=\udcff",  # a byte that is not UTF-8
    ],
)
def test_a_file_that_does_not_say_the_gpus_leaves_them_unknown(tmp_path, text):
    file = tmp_path / "job"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert requested_gpus.of_skypilot(file, []) == requested_gpus.of_slurm(file, []) == 0


@pytest.mark.parametrize("scheduler", ["slurm", "skypilot"])
def test_a_mesh_that_the_gpus_cannot_form_is_refused(schedulers, clone, scheduler, capfd):
    words = [*TRAIN, "--config.mesh.data=5"]
    assert launch(scheduler, "--nodes=3", words=words) == 2
    message = capfd.readouterr().err
    assert message.startswith("launch: config.mesh: the product of ")
    assert "the number of devices, 24; " in message
    assert not schedulers.calls


@pytest.mark.parametrize("scheduler", ["slurm", "skypilot"])
def test_a_mesh_of_all_gpus_is_submitted(schedulers, clone, scheduler):
    assert launch(scheduler, "--nodes=3", words=[*TRAIN, "--config.mesh.data=24"]) == 0
