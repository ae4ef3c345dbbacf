"""Jobs on a GKE cluster: what gcluster gets, and descriptions that are refused."""

import re

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import gke

from .fake_schedulers import TRAIN, launch


def test_gcluster_gets_slice_image_restarts_and_grace(schedulers, clone):
    place = ("--cluster=c", "--location=us-west4", "--project=p")
    assert launch("gke", *place, "--slices=2", "--grace=300", "--submit_flag=--queue=q") == 0
    (call,) = schedulers.calls
    assert call[:-1] == [
        *("gcluster", "job", "submit", "--name=mine", *place),
        *("--compute-type=v5litepod-16", "--topology=4x4", "--num-slices=2"),
        *("--image=us-docker.pkg.dev/p/r/i:1", "--restarts=20"),
        *("--restart-on-exit-codes=75,134,137,143", "--grace-period=300s", "--queue=q"),
    ]
    assert call[-1].startswith("--command=exec env TEACHERLM_DISTRIBUTED=auto")
    assert schedulers.runs[0][1] == {"TEACHERLM_DISTRIBUTED": "auto"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--slice=v5e:4x5", "--slice=v5e:4x5: no slice has this shape"),
        ("--slice=v4:2x2x1", "unknown chip 'v4'; expected one of v5e, v5p, v6e"),
        ("--slice=tpu7x:2x2", "GKE also has tpu7x, as in --slice=tpu7x:2x2x1"),
        ("--name=Mine_1", "--name=Mine_1: expected at most 28 lower-case letters"),
        (f"--name={'a' * 29}", "expected at most 28 lower-case letters"),
        ("--bucket=my-bucket", "--bucket=my-bucket: expected a bucket, as in gs://my-bucket"),
        ("--bucket=gs://other", "does not name it, and files elsewhere are lost with the pods"),
        ("--env=1A=b", "--env=1A: expected NAME=VALUE"),
        ("--env=NOT_SET_HERE", "--env=NOT_SET_HERE: NOT_SET_HERE is not set here"),
    ],
)
def test_an_invalid_description_of_a_gke_job_is_refused(schedulers, clone, option, message, capfd):
    assert launch("gke", option, "--dry_run") == 2
    shown = capfd.readouterr()
    assert message in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("topology", "kind"),
    [
        ("v5e:8x8", ("v5litepod-64", "8x8")),
        ("v6e:2x4", ("v6e-8", "2x4")),
        ("v5p:4x4x8", ("v5p-128", "4x4x8")),
        ("tpu7x:2x2x1", ("tpu7x", "2x2x1")),
    ],
)
def test_a_slice_has_the_compute_type_and_topology_of_gcluster(topology, kind):
    assert gke.compute_type(topology) == kind


@pytest.mark.parametrize(
    ("options", "mesh", "devices"),
    [
        (["--slice=v5e:4x4"], "fsdp=7", 16),
        (["--slice=v5e:4x4", "--slices=2"], "data=16", 32),
        (["--slice=tpu7x:2x2x1"], "data=4", 8),
        (["--slice=v5p:2x2x1"], "data=8", 4),
    ],
)
def test_a_mesh_that_the_slices_cannot_form_is_refused(
    schedulers, clone, options, mesh, devices, capfd
):
    assert launch("gke", *options, words=[*TRAIN, f"--config.mesh.{mesh}"]) == 2
    message = capfd.readouterr().err
    assert message.startswith("launch: config.mesh: the product of ")
    assert mesh in message and f"the number of devices, {devices}; " in message
    assert not schedulers.calls


@pytest.mark.parametrize(
    "options",
    [
        ["--slice=v5e:4x4", "--slices=2"],
        ["--slice=tpu7x:2x2x4"],
        ["--slice=v5p:2x4x4"],
    ],
)
def test_a_mesh_of_all_devices_of_the_slices_is_submitted(schedulers, clone, options):
    assert launch("gke", *options, words=[*TRAIN, "--config.mesh.data=32"]) == 0


def test_a_bucket_whose_name_begins_like_another_one_does_not_count():
    with pytest.raises(UserError, match="does not name it"):
        gke.GkeJob("n", "v5e:4x4", "i", "gs://b", ["train", "--config.output=gs://b2/runs"])


def test_the_output_that_a_message_proposes_is_accepted(schedulers, clone, capfd):
    words = TRAIN[:2]
    assert launch("gke", words=words) == 2
    proposed = re.search(r"add (--config\.output=\S+), or", capfd.readouterr().err)[1]
    assert launch("gke", words=[*words, proposed]) == 0
