"""The summary of a finished job."""

from pathlib import Path

from teacherlm_jax.annotation.job.job_summary import summary

COT = {
    "count": 12,
    "gates": {"finished": 9, "answer_check": 8},
    "judged": {"finished": 12, "answer_check": 11},
    "passed_all_gates": 8,
    "finish_reasons": {"eos": 9, "length": 3},
}
MISTAKE = {
    "count": 12,
    "gates": {"finished": 12, "answer_check": 0},
    "judged": {"finished": 12, "answer_check": 0},
    "passed_all_gates": 12,
    "finish_reasons": {"eos": 12},
}


def test_it_names_files_counts_and_the_next_commands():
    result = {"rows": 12, "refused": 2, "kinds": {"cot": COT, "mistake": MISTAKE}}
    assert summary(Path("my runs/a"), result).splitlines() == [
        "finished",
        "  rows               12 explained, 2 refused; the reasons are in my runs/a/refused.jsonl",
        "  explained samples  my runs/a/samples/*.jsonl",
        "  explanations       my runs/a/texts/{cot,mistake}/*.jsonl",
        "",
        "                       cot      mistake",
        "  explanations         12       12",
        "  truncated            3        0",
        "  passed finished      9        12",
        "  passed answer_check  8 of 11  no verdict",
        "  passed all gates     8        12",
        "",
        "next",
        "  write a dataset  teacherlm convert 'my runs/a' FOLDER",
        (
            "  train on it      teacherlm prepare --config=FILE.py, with a source of "
            "path='my runs/a/samples/*.jsonl'"
        ),
    ]


def test_without_gates_and_refused_rows_it_says_so():
    kind = {"count": 1, "gates": {}, "passed_all_gates": None, "finish_reasons": {"stop": 1}}
    lines = summary(Path("a"), {"rows": 1, "refused": 0, "kinds": {"cot": kind}}).splitlines()
    assert lines[1] == "  rows               1 explained"
    assert lines[3] == "  explanations       a/texts/cot/*.jsonl"
    assert "  not checked by any gate" in lines


def test_a_teacher_on_a_server_has_its_refusals_tokens_and_cost():
    served = COT | {"prompt_tokens": 5100, "new_tokens": 300, "cost": 0.25}
    served["finish_reasons"] = {"eos": 10, "refused": 2}
    lines = summary(
        Path("a"), {"rows": 12, "refused": 0, "kinds": {"cot": served, "mistake": MISTAKE}}
    ).splitlines()
    assert lines[7:12] == [
        "  truncated              0        0",
        "  refused by the server  2        0",
        "  prompt tokens          5,100",
        "  new tokens             300",
        "  cost                   0.2500",
    ]
    served["cost"] = None
    shown = summary(Path("a"), {"rows": 12, "refused": 0, "kinds": {"cot": served}})
    assert "prompt tokens" in shown and "cost" not in shown
