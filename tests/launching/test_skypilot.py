"""Jobs of SkyPilot: the YAML file, and the nodes that find each other."""

import re
import subprocess

import pytest
import yaml

from teacherlm_jax.errors import UserError
from teacherlm_jax.launching import handover, skypilot_node

from .fake_schedulers import ROOT, launch


def test_the_nodes_of_skypilot_find_each_other(schedulers, clone):
    assert launch("skypilot", "--nodes=3") == 0
    assert [variables for _, variables in schedulers.runs] == [
        {
            "JAX_COORDINATOR_ADDRESS": "10.0.0.1:8482",
            "JAX_NUM_PROCESSES": "3",
            "JAX_PROCESS_ID": str(rank),
        }
        for rank in range(3)
    ]


def test_a_single_node_of_skypilot_is_not_distributed(schedulers, clone):
    assert launch("skypilot", "--nodes=1") == 0
    assert schedulers.runs[0][1] == {}


NODE = {"SKYPILOT_NODE_IPS": "a\nb", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}


@pytest.mark.parametrize(
    "change", [{"SKYPILOT_NODE_RANK": "2"}, {"SKYPILOT_NODE_IPS": "a"}, {"SKYPILOT_NUM_NODES": ""}]
)
def test_variables_of_skypilot_that_do_not_agree_are_refused(change):
    assert skypilot_node.settings_of(NODE)["JAX_PROCESS_ID"] == "1"
    with pytest.raises(UserError, match="one address for each; start this with SkyPilot"):
        skypilot_node.settings_of(NODE | change)


@pytest.mark.parametrize("text", ["", "  ", "train 'open"])
def test_a_skypilot_job_without_a_command_is_refused(text):
    with pytest.raises(UserError, match="TEACHERLM_COMMAND"):
        skypilot_node.words_of({"TEACHERLM_COMMAND": text})


def test_the_yaml_file_of_skypilot_recovers_on_the_statuses_that_skypilot_allows():
    task = yaml.safe_load((ROOT / "launch" / "skypilot.yaml").read_text())
    recovery = task["resources"]["job_recovery"]
    assert recovery["recover_on_exit_codes"] == [code for code in handover.RESTARTED if code != 137]
    assert task["num_nodes"] == 2 and task["workdir"] == "."
    assert task["envs"] == {skypilot_node.COMMAND: None}
    assert subprocess.run(["bash", "-n", "-c", task["setup"] + task["run"]]).returncode == 0
    installed = re.findall(r"-r (\S+)", task["setup"])
    assert len(installed) == 2
    assert all((ROOT / file).exists() for file in installed)
