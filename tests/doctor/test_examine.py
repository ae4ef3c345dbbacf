"""The command `doctor` as users type it."""

import json

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.doctor import devices, nvidia
from teacherlm_jax.doctor.finding import OK, PROBLEM, WARNING, Finding, summary, text_of
from teacherlm_jax.storage import objects

PROBE = {
    "platform": "cpu",
    "kind": "cpu",
    "local": 1,
    "all": 1,
    "memory": [{"limit": None, "used": None}],
    "unavailable": {},
    "peak": None,
    "matmul": {"flops": 5e10, "width": 1024, "dtype": "float32", "compile_seconds": 0.1},
}


@pytest.fixture
def probe(monkeypatch):
    """A function that sets what the look at the devices finds."""

    def given(reason="", **found):
        answer = devices.NoProbe(reason, "stop it") if reason else PROBE | found
        monkeypatch.setattr(devices, "_probe", lambda seconds: answer)

    given()
    return given


@pytest.fixture
def typed(capsys, probe, monkeypatch, tmp_path):
    """A function that runs `teacherlm doctor`; it returns its exit status and what it printed."""
    monkeypatch.setattr(nvidia, "_GPUS", ())
    monkeypatch.setattr(nvidia, "_DRIVER", tmp_path / "missing")
    monkeypatch.setattr(devices, "_has_tpu", lambda: False)
    for name in ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES", "MEGASCALE_NUM_SLICES"):
        monkeypatch.delenv(name, raising=False)

    def run(*words):
        capsys.readouterr()
        code = main.main(["doctor", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_each_line_has_a_verdict_and_each_trouble_a_way_out(typed, tmp_path):
    code, text = typed(f"--folder={tmp_path}", "--json")
    answer = json.loads(text)
    names = [finding["name"] for finding in answer["findings"]]
    assert {"Python", "packages", "requirements", "pins", "devices", "matmul", "memory",
            "disk of runs", "clock"} <= {*names}  # fmt: skip
    for finding in answer["findings"]:
        assert finding["verdict"] in ("ok", "warning", "problem", "skipped")
        assert finding["remedy"] or finding["verdict"] in ("ok", "skipped"), finding
    assert code == int(any(one["verdict"] == "problem" for one in answer["findings"]))


def test_the_text_names_what_was_found_and_sums_it_up(typed, tmp_path):
    _, text = typed(f"--folder={tmp_path}")
    assert "jax 0." in text and "orbax-checkpoint" in text and "GiB free" in text
    assert "0.05 TFLOP/s in float32" in text and "no peak is known for a CPU" in text
    assert "not compared: name a bucket" in text


def test_a_problem_gives_exit_status_1(typed, probe, tmp_path):
    probe(reason="JAX cannot open the devices: the TPU is already in use by process with pid 12")
    code, text = typed(f"--folder={tmp_path}")
    assert code == 1
    assert "problem  devices" in text and "already in use by process with pid 12" in text
    assert "-> stop it" in text
    assert text.splitlines()[-1].startswith("1 problem")


def test_a_bucket_is_tried_and_left_as_it_was(typed, bucket):
    code, text = typed(f"--folder={bucket}/runs")
    lines = [line for line in text.splitlines() if line.startswith("ok       bucket")]
    assert len(lines) == 6
    assert code in (0, 1) and " ms" in text and "within" in text
    assert not objects.listing(bucket)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("runs",), "unexpected argument 'runs'"),
        (("--folder=s3://a/b",), "is not supported"),
        (("--server=www.google.com",), "--server: expected an address that begins with https://"),
        (("--seconds=60",), "60.0 is not in [0, 10]"),
        (("--config=a.py",), "this command has no config"),
    ],
)
def test_a_wrong_command_line_is_refused(typed, words, message):
    code, text = typed(*words)
    assert code == 2 and message in text


def test_findings_are_aligned_and_counted():
    findings = [
        Finding("a", OK, "fine"),
        Finding("longer", WARNING, "low", "raise it"),
        Finding("b", PROBLEM, "none", "add one"),
    ]
    assert "\n".join(map(text_of, findings)).splitlines() == [
        "ok       a                  fine",
        "warning  longer             low",
        "                            -> raise it",
        "problem  b                  none",
        "                            -> add one",
    ]
    assert summary(findings) == "1 problem, 1 warning"
    assert summary(findings[:1]) == "no problems"
