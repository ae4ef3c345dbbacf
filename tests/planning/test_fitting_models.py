"""The table of published models that fit on GPUs."""

import re
from pathlib import Path

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.config import MeshConfig, PlanOptions, TrainConfig
from teacherlm_jax.models import registry
from teacherlm_jax.planning import calibration, fitting_models, gpu_plan, gpus, plan

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "plan-for-gpus.md"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--topology=v5e:2x2"], "--fits: works for GPUs, as in --topology=gpu:4090, but v5e:2x2"),
        (["--topology=gpu:4090", "--config.steps=3"], "--config.steps: has no effect with --fits"),
        (["--topology=gpu:4090", "--rows=3"], "--rows: has no effect with --fits"),
        (["--topology=gpu:4090", "--sweep_all"], "a --sweep option: has no effect with --fits"),
        ([], "--topology: empty"),
    ],
)
def test_what_has_no_effect_on_the_table_of_models_is_refused(words, fault, capsys):
    assert main.main(["plan", "--fits", *words]) == 2
    assert fault in capsys.readouterr().err


@pytest.fixture
def few(monkeypatch):
    names = ("bloom-560m", "bloom-7b1", "opt-125m", "opt-13b")
    monkeypatch.setattr(fitting_models, "MODELS", names)


def test_the_table_of_models_needs_no_config(few, capsys):
    assert main.main(["plan", "--fits", "--topology=gpu:4090"]) == 0
    text = capsys.readouterr().out
    rows = {line.split()[0]: line for line in text.splitlines() if re.match(r"(bloom|opt)-", line)}
    assert list(rows) == list(fitting_models.MODELS)
    cells = re.split(r"  +", rows["bloom-7b1"])
    assert cells[1].endswith(": no") and re.fullmatch(r"[\d.]+: \d+ rows?", cells[2])
    assert re.fullmatch(r"[\d.]+: \d+ slots?", cells[3])
    assert "\nlargest models, train all: bloom-560m and opt-125m\n" in text
    assert "\nlargest models, explain in int8: bloom-7b1 and opt-13b\n" in text
    assert "--topology=gpu:4090" in text.splitlines()[-1]


def test_the_documentation_shows_the_table_and_an_error_of_the_program(
    capsys, tmp_path, monkeypatch
):
    page = PAGE.read_text(encoding="utf-8")
    assert main.main(["plan", "--fits", "--topology=gpu:4090"]) == 0
    assert f"```text\n{capsys.readouterr().out}```" in page
    (words,) = re.findall(r"With `(--config=\S+ --topology=\S+)` this is", page)
    monkeypatch.chdir(ROOT)
    assert main.main(["plan", *words.split(), f"--config.output={tmp_path}/run"]) == 2
    assert f"```text\n{capsys.readouterr().err}```" in page


@pytest.mark.parametrize("method", fitting_models.METHODS)
def test_a_run_with_the_largest_batch_of_the_table_fits_and_with_twice_of_it_does_not(method):
    wanted, length = gpus.parse("gpu:4090x2"), 512
    fit = fitting_models.fit("bloom-1b1", method, wanted, length)
    assert fit.most
    needed = fitting_models.METHODS[method].prepare("bloom-1b1", fit.mesh, 2, length)
    limit = wanted.chip.usable * 2**30
    assert needed(fit.most) <= limit < needed(2 * fit.most)
    assert fit.least == needed(1)


def test_the_table_and_a_plan_of_the_same_run_need_the_same_memory():
    wanted = gpus.parse("gpu:h100")
    fit = fitting_models.fit("bloom-560m", "train all", wanted, 2048)
    model = registry.shape("bloom-560m", attention="blockwise", remat="full")
    config = TrainConfig("runs/x", "nowhere", model=model, batch_size=8, accumulate=8)
    run = gpu_plan.prepare(config, wanted, 0, "")
    result = gpu_plan.planned(run, wanted, calibration.ASSUMED)
    assert plan.largest(result)["memory"] == fit.least


def test_gpus_that_divide_no_model_get_a_copy_each_or_none():
    three = fitting_models.fit("bloom-560m", "train all", gpus.parse("gpu:a100x3"), 2048)
    assert three.mesh == MeshConfig(3, 1, 1)
    one = fitting_models.fit("bloom-560m", "train all", gpus.parse("gpu:a100"), 2048)
    assert three.least == one.least


def test_rows_are_no_longer_than_the_positions_of_a_model(monkeypatch):
    wanted = gpus.parse("gpu:h100")
    for method in fitting_models.METHODS:
        longer = fitting_models.fit("opt-125m", method, wanted, 4096)
        assert longer == fitting_models.fit("opt-125m", method, wanted, 2048)
    monkeypatch.setattr(fitting_models, "MODELS", ("bloom-560m", "opt-125m"))
    text = fitting_models.overview(PlanOptions("gpu:h100", length=4096))
    assert "training: packed rows of 4096 tokens (OPT: 2048), remat=full" in text
    assert "not over" not in text
