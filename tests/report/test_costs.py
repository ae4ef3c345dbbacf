"""One table has the costs of all commands, with a total of each."""

import pytest

from teacherlm_jax.report import costs
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.page import html_page, markdown_page
from teacherlm_jax.storage import files

KIND = {"teacher": "t", "count": 9, "gates": {}, "passed_all_gates": None, "mean_tokens": 2.0}
ANNOTATED = {"rows": 9, "refused": 0, "kinds": {"cot": KIND}}
HERE = {
    "texts": 9,
    "prompt_tokens": 900,
    "new_tokens": 18,
    "flops": 2e9,
    "money": None,
    "seconds": 100.0,
    "chip_seconds": 7200.0,
    "chips": 8,
    "devices": ["TPU v4"],
}
ON_A_SERVER = {"money": 0.25, "flops": None, "chips": 0, "chip_seconds": 0.0, "devices": []}
BENCHMARK = {
    "rows": 50,
    "accuracy": 0.5,
    "interval": [0.4, 0.6],
    "majority": 0.5,
    "macro_accuracy": 0.5,
    "macro_interval": [0.4, 0.6],
    "by_subject": {"": {}},
    "refused": 0,
    "truncated": 0,
}
EVALUATED = {"model": "m", "step": 1, "benchmarks": {"toys": BENCHMARK}}
SCORED = {
    "questions": 50,
    "tokens": 4000,
    "scored_tokens": 100,
    "flops": 5e8,
    "seconds": 3600.0,
    "chips": 2,
    "devices": ["cpu"],
}
PREPARED = {"texts": 70, "tokens": 2500, "seconds": 60.0}


def _write(folder, verb, result):
    files.write_json(folder / "config.json", {"verb": verb, "config": {}})
    files.write_json(folder / "result.json", result)


@pytest.fixture
def runs(tmp_path):
    _write(tmp_path / "a", "annotate", ANNOTATED | {"costs": HERE})
    _write(tmp_path / "b", "annotate", ANNOTATED | {"costs": HERE | ON_A_SERVER})
    _write(tmp_path / "c", "annotate", ANNOTATED)  # by an earlier version
    _write(tmp_path / "d", "evaluate", EVALUATED | {"costs": SCORED})
    _write(tmp_path / "e", "prepare", {"mixtures": {}, "costs": PREPARED})
    return find_runs(tmp_path, None)


def test_costs_of_all_commands_are_in_one_table_with_a_total_of_each(runs):
    _, table = costs.section(runs)
    header, *lines = (" | ".join(line) for line in table.lines)
    assert header.split(" | ") == ["run", "command", *costs.HEADER]
    assert lines == [
        "a | annotate | 9 texts | 900 | 18 | 2.00e+09 | 1.7 min | 8 (TPU v4) | 2.00 | ",
        "b | annotate | 9 texts | 900 | 18 |  | 1.7 min | 0 | 0.00 | 0.2500",
        "c | annotate |  |  |  |  |  |  |  | ",
        "d | evaluate | 50 questions | 4,000 | 100 | 5.00e+08 | 60.0 min | 2 (cpu) | 2.00 | ",
        "e | prepare | 70 texts | 2,500 |  |  | 60 s |  |  | ",
        "total | prepare | 70 texts | 2,500 |  |  | 60 s |  |  | ",
        "total | annotate | 18 texts | 1,800 | 36 | 2.00e+09 | 3.3 min |  | 2.00 | 0.2500",
        "total | evaluate | 50 questions | 4,000 | 100 | 5.00e+08 | 60.0 min |  | 2.00 | ",
    ]


def test_totals_are_below_the_rows_in_html_and_in_markdown(runs):
    blocks = costs.section(runs)
    body, foot = html_page("t", "l", blocks).split("<tfoot>")
    assert 'scope="row" class="left">total<' not in body
    assert foot.partition("</tfoot>")[0].count('scope="row" class="left">total<') == 3
    lines = markdown_page("t", "l", blocks).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert [line.startswith("| total") for line in rows[2:]] == [False] * 5 + [True] * 3


def test_columns_that_no_run_has_are_left_out(tmp_path):
    _write(tmp_path / "e", "prepare", {"mixtures": {}, "costs": PREPARED})
    _, table = costs.section(find_runs(tmp_path, None))
    assert table.header == ("run", "command", "amount", "tokens", "time")
    assert all(len(row) == 5 for row in (*table.rows, *table.totals))


def test_costs_of_another_shape_make_their_run_unfinished(tmp_path):
    _write(tmp_path / "a", "prepare", {"costs": {"texts": 1, "tokens": 2}})
    (run,) = find_runs(tmp_path, None)
    assert "it lacks costs.seconds" in run.problem
    assert costs.section([run]) == []
