"""Secrets reach the command of a job and are masked in all that is printed."""

import pytest

from teacherlm_jax.launching import tpu_pod
from teacherlm_jax.runs import masking

from .fake_schedulers import MASKED, SECRET, TRAIN, launch


def test_a_secret_reaches_the_command_on_gke_and_is_never_printed(
    schedulers, clone, capfd, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    for options in (["--dry_run"], []):
        assert launch("gke", "--env=HF_TOKEN", "--env=NAME=value", *options) == 0
        shown = capfd.readouterr()
        assert SECRET not in shown.out + shown.err
        assert MASKED in shown.out and "NAME=value" in shown.out
    assert "submitting mine" in shown.out, "the output of gcluster is shown, with masks"
    assert schedulers.runs[0][1]["HF_TOKEN"] == SECRET


def test_a_secret_that_is_not_set_here_is_masked_by_its_name(schedulers, clone, capfd):
    schedulers.cue(gcluster=[1])  # the fake then prints its arguments
    assert launch("gke", f"--env=HF_TOKEN={SECRET}", "--env=WANDB_API_KEY=it's a key") == 1
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err and "a key" not in shown.out.splitlines()[0]


def test_skypilot_takes_secrets_from_the_environment(schedulers, clone, capfd, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert launch("skypilot", "--secret=HF_TOKEN") == 0
    assert "--secret=HF_TOKEN" in schedulers.calls[0]
    assert not any(SECRET in word for word in schedulers.calls[0])
    shown = capfd.readouterr().out
    assert SECRET not in shown and "--secret=HF_TOKEN " in shown
    assert [variables["HF_TOKEN"] for _, variables in schedulers.runs] == [SECRET] * 2


def test_a_secret_in_the_reason_of_a_refusal_is_masked(schedulers, clone, capfd, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert launch("slurm", words=[*TRAIN, f"--config.steps={SECRET}"]) == 2
    message = capfd.readouterr().err
    assert "steps" in message and masking.MASK in message and SECRET not in message


@pytest.mark.parametrize(
    "before",
    [
        f"export HF_TOKEN={SECRET} && echo token $HF_TOKEN",
        f"export HF_TOKEN='{SECRET}'; echo token $HF_TOKEN >&2",
    ],
)
@pytest.mark.parametrize("statuses", [[1], [0, 1]])  # of the installation and of the run
def test_a_secret_in_the_output_of_gcloud_and_of_the_hosts_is_masked(
    cloud, checkout, capfd, before, statuses
):
    cloud.cue(ssh=statuses, errors=[f"ERROR: ssh failed: bash -c 'export HF_TOKEN={SECRET}'"])
    words = [
        *("run", "--name=mine", "--zone=z", "--poll=0", "--accelerator_type=v5litepod-16"),
        *("--runtime_version=v2-alpha-tpuv5-lite", f"--source={checkout}", "--python=./python"),
        *(f"--before={before}", "--", *TRAIN),
    ]
    assert tpu_pod.main(words) == 1
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err
    assert f"ERROR: ssh failed: bash -c 'export HF_TOKEN={masking.MASK}'" in shown.out
    assert statuses == [1] or f"token {masking.MASK}" in shown.out


@pytest.mark.parametrize("option", [f"--secret=HF_TOKEN={SECRET}", "--secret=NOT_SET_HERE"])
def test_a_secret_is_given_by_name(schedulers, clone, option, capfd):
    assert launch("skypilot", option) == 2
    shown = capfd.readouterr()
    assert "expected the name of a variable that is set here" in shown.err
    assert SECRET not in shown.out + shown.err


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("HF_TOKEN=x", "HF_TOKEN=***"),
        ("--config.api_key=x", "--config.api_key=***"),
        ("AWS_SECRET_ACCESS_KEY=x", "AWS_SECRET_ACCESS_KEY=***"),
        ("PGPASSWORD=x", "PGPASSWORD=***"),
        ("--config.endpoint.key_variable=OPENAI_API_KEY", None),
        ("--config.columns.key=id", None),
        ("HF_TOKEN=", None),
        ("--secret=HF_TOKEN", None),
        ("--secret=NAME=x", "--secret=NAME=***"),
        (
            "--command=export HF_TOKEN=x && env A=b run",
            "--command=export HF_TOKEN=*** && env A=b run",
        ),
        ("--command=export HF_TOKEN='x y'; b", "--command=export HF_TOKEN=***; b"),
        ('--command=A=b HF_TOKEN="x" c', "--command=A=b HF_TOKEN=*** c"),
        ("--export=ALL,HF_TOKEN=x,A=b", "--export=ALL,HF_TOKEN=***,A=b"),
        ("HF_TOKEN", None),
        (f"https://user:{SECRET}@host", "https://user:***@host"),
    ],
)
def test_secrets_are_masked_by_name_and_by_value(word, shown):
    assert masking.masked([word], {"HF_TOKEN": SECRET, "A_KEY": "true"}) == [shown or word]
