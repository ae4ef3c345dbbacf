"""Models on the same questions are compared by their answers, beside the training they had."""

import re

import pytest

import teacherlm_jax
from teacherlm_jax.config import ReportConfig
from teacherlm_jax.evaluation import paired
from teacherlm_jax.report import compared_models, comparison_tables, comparisons
from teacherlm_jax.report.blocks import Heading, Notice, Table
from teacherlm_jax.report.build import report
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.report.lineage import Lineage
from teacherlm_jax.storage import files
from tests.make_run import make_run
from tests.report.answered import CMF, TEXT, answer, change, seeded


def compared(runs):
    return comparisons.compare(Lineage(find_runs(runs, runs / "report")), str(runs))


def only_pair(runs):
    ((_, (pair,)),) = compared(runs).sets
    return pair


def test_two_students_are_compared_on_their_answers_to_the_same_questions(students):
    pair = only_pair(students)
    assert pair.name == "student_CMF − student_text"
    assert (pair.result.only_first, pair.result.only_second) == (15, 5)
    assert pair.result.difference == pytest.approx(0.05)
    assert pair.result.p_values == (pytest.approx(paired.mcnemar(15, 5)),)
    assert pair.first.student and pair.second.student


def test_their_tokens_steps_and_flops_are_beside_them(students):
    pair = only_pair(students)
    assert comparison_tables.model_cells(pair.first) == (
        *("student_CMF", "1", "2,752,512", "1,500", "1.93e+13"),  # 7e6 FLOPs per token
    )
    assert comparison_tables.model_cells(pair.second) == (
        *("student_text", "1", "983,040", "500", "5.13e+12"),  # 6 · 870,400 per token
    )
    assert comparison_tables.tokens_text(pair) == "2.8 : 1"
    assert comparison_tables.unequal_training(pair) == (
        "student_CMF was trained on 2.8 times the tokens of student_text (1,500 and 500 steps), so "
        "their difference may come from longer training."
    )


def test_the_training_of_an_earlier_checkpoint_is_scaled_by_its_share_of_the_steps(students):
    run = students / "student_CMF"
    for name in ("student_CMF", "student_text"):
        step = 150 if name == "student_text" else 1500
        result = students / f"evaluate_{name}" / "result.json"
        change(result, model=f"{run}/checkpoints/{step}", step=step)
    pair = only_pair(students)
    assert comparison_tables.model_cells(pair.first) == (
        *("student_CMF/checkpoints/1500", "1", "2,752,512", "1,500", "1.93e+13"),
    )
    assert comparison_tables.model_cells(pair.second) == (
        *("student_CMF/checkpoints/150", "1", "275,251", "150", "1.93e+12"),
    )
    assert comparison_tables.tokens_text(pair) == "10.0 : 1"
    (table,) = [
        one
        for one in comparison_tables.section(compared(students))
        if isinstance(one, Table) and one.caption.startswith("Training behind")
    ]
    assert "up to an earlier checkpoint, scaled by its share of the steps" in table.caption


def test_the_page_and_the_summary_show_every_comparison(students):
    run = make_run(students / "report")
    result = report(ReportConfig(output="", root=str(students), title="Toys"), run)
    (figures,) = result["comparisons"]
    assert figures["first"] == ["evaluate_student_CMF"]
    assert figures["difference"] == pytest.approx(0.05)
    summary = (run.path / "summary.txt").read_text()
    line = next(line for line in summary.splitlines() if "student_CMF −" in line)
    cells = re.split(r"  +", line.strip())
    assert cells[:2] == ["student_CMF − student_text", "+5.0"]
    assert cells[3:] == ["0.041", "none", "1, 1", "2.8 : 1"]
    assert re.search(r"student_CMF +1 +2,752,512 +1,500 +1.93e\+13", summary)
    page = (run.path / "report.md").read_text()
    assert "## Comparisons" in page and "### Differences on generated" in page
    assert re.search(
        r"\| student_CMF − student_text \| \+5\.0 \(\S+ to \S+\) \| 200 \| 1, 1 \| 15 \| 5 \|", page
    )
    assert "trained on 2.8 times the tokens of student_text" in page


def test_the_comparisons_of_a_folder_are_the_tables_of_its_summary(students):
    run = make_run(students / "report")
    report(ReportConfig(output="", root=str(students), title="Toys"), run)
    tables = teacherlm_jax.compare(students)
    for reason in reversed(compared(students).problems):
        assert tables.endswith(f"\n\n{reason}")
        tables = tables.removesuffix(f"\n\n{reason}")
    assert tables.startswith("Differences on generated") and "\nTraining of these models" in tables
    assert tables in (run.path / "summary.txt").read_text()


def test_a_folder_without_two_models_to_compare_says_so_and_why(runs):
    first, *reasons = teacherlm_jax.compare(runs).split("\n\n")
    assert first == "No two models answered the same questions."
    assert reasons == list(compared(runs).problems) != []


def differences(runs):
    blocks = comparison_tables.section(compared(runs))
    return next(block for block in blocks if isinstance(block, Table))


def test_questions_are_matched_by_id_and_digest_in_any_order_and_file(students):
    folder = students / "evaluate_student_text"
    rows = [row for _, row in files.read_jsonl(folder / "generated.predictions.jsonl")]
    files.write_jsonl(folder / "renamed.predictions.jsonl", rows[::-1])
    result = files.read_json(folder / "result.json")
    result["benchmarks"] = {"renamed": result["benchmarks"]["generated"]}
    files.write_json(folder / "result.json", result)
    pair = only_pair(students)
    assert pair.benchmark == "generated / renamed"
    assert (pair.result.only_first, pair.result.only_second) == (15, 5)


def test_only_questions_that_both_have_answered_are_compared(students):
    answer(students / "evaluate_student_text", TEXT[140:], start=140)
    pair = only_pair(students)
    assert pair.result.questions == 60
    assert (pair.result.only_first, pair.result.only_second) == (15, 5)


def test_other_questions_under_the_same_ids_are_not_compared(students):
    answer(students / "evaluate_student_text", TEXT, digest="other")
    assert compared(students).sets == ()


def test_predictions_of_earlier_versions_are_matched_by_the_digest_of_the_file(students):
    for name in ("student_CMF", "student_text"):
        folder = students / f"evaluate_{name}"
        rows = [row for _, row in files.read_jsonl(folder / "generated.predictions.jsonl")]
        for row in rows:
            del row["digest"]
        files.write_jsonl(folder / "generated.predictions.jsonl", rows)
    assert compared(students).sets == ()
    assert any("of an earlier version" in line for line in compared_models.compared_sets(
        Lineage(find_runs(students, students / "report")), str(students))[1])  # fmt: skip
    for name in ("student_CMF", "student_text"):
        inputs = {"benchmarks.generated": "sha256:1"}
        files.write_json(students / f"evaluate_{name}" / "inputs.json", inputs)
    assert only_pair(students).result.only_first == 15


def test_runs_that_differ_only_in_their_seed_are_one_model(students):
    for seed in (1, 2, 3):
        seeded(students, f"long-{seed}", seed, CMF[seed:] + "1" * seed)
    seeded(students, "wide", 1, CMF, batch_size=16)
    (own, pairs) = compared(students).sets[0]
    labels = {model.label: model.seeds for model in own.models}
    assert labels == {"long-*": 3, "wide": 1, "student_CMF": 1, "student_text": 1}
    assert len(pairs) == 6
    assert "not all pairs" not in differences(students).caption
    pair = next(pair for pair in pairs if pair.name == "long-* − student_text")
    assert comparison_tables.seeds_text(pair) == "3, 1"
    assert comparison_tables.p_text(pair.result) == "–"  # no p of one seed stands for all three
    assert pair.first.accuracies == [0.825, 0.825, 0.825]


def test_runs_on_other_devices_are_seeds_of_one_model(students):
    seeded(students, "long-1", 1, CMF, mesh={"fsdp": 1}, model={"width": 8, "remat": "none"})
    seeded(students, "long-2", 2, CMF, mesh={"fsdp": 4}, model={"width": 8, "remat": "full"})
    seeded(students, "long-3", 3, CMF, log_every=5, model={"width": 8})
    seeded(students, "wide", 1, CMF, model={"width": 16})
    labels = {model.label: model.seeds for model in compared(students).sets[0][0].models}
    assert labels == {"long-*": 3, "wide": 1, "student_CMF": 1, "student_text": 1}


def test_a_training_that_was_repeated_with_the_same_seed_counts_once(students):
    seeded(students, "long-1", 1, CMF, mesh={"fsdp": 1})
    seeded(students, "long-2", 2, CMF)
    seeded(students, "long-again", 1, CMF, mesh={"fsdp": 4})
    labels = {model.label: len(model.runs) for model in compared(students).sets[0][0].models}
    assert sorted(labels.values()) == [1, 1, 2]


def test_chains_of_stages_that_differ_only_in_seeds_are_one_model(students):
    for seed in (1, 2):
        seeded(students, f"first-{seed}", seed, CMF)
        (students / f"evaluate_first-{seed}" / "result.json").unlink()
        start = str(students / f"first-{seed}")
        seeded(students, f"second-{seed}", seed, CMF, init_from=start)
        inputs = {"data": "sha256:data", "init_from": f"sha256:{seed}"}
        files.write_json(students / f"second-{seed}" / "inputs.json", inputs)
    own, _ = compared(students).sets[0]
    assert {model.label for model in own.models} == {"second-*", "student_CMF", "student_text"}


def test_the_same_model_evaluated_twice_counts_once(students):
    evaluation = students / "evaluate_again"
    for name in ("config.json", "result.json", "generated.predictions.jsonl"):
        content = (students / "evaluate_student_CMF" / name).read_bytes()
        evaluation.mkdir(exist_ok=True)
        (evaluation / name).write_bytes(content)
    assert only_pair(students).result.seeds == (1, 1)


def evaluate_again(runs, name, step, marks):
    """Add an evaluation of a run of `seeded` that has been extended up to a step."""
    before, after = runs / f"evaluate_{name}", runs / f"evaluate_{name}_at_{step}"
    files.write_json(after / "config.json", files.read_json(before / "config.json"))
    result = files.read_json(before / "result.json")
    result |= {"step": step, "digest": f"sha256:{name} at {step}"}
    files.write_json(after / "result.json", result)
    answer(after, marks)


def test_a_run_that_was_extended_between_its_evaluations_is_two_models(students):
    seeded(students, "long-1", 1, CMF)
    seeded(students, "long-2", 2, CMF)
    evaluate_again(students, "long-1", 30, TEXT)
    own, _ = compared(students).sets[0]
    evaluations = {tuple(one.run.name for one in model.runs) for model in own.models}
    assert evaluations == {
        ("evaluate_long-1", "evaluate_long-2"),
        ("evaluate_long-1_at_30",),
        ("evaluate_student_CMF",),
        ("evaluate_student_text",),
    }


def test_models_that_would_have_the_same_label_list_their_names(students):
    for number in range(1, 5):
        seeded(students, f"run-050{number}", number, CMF, batch_size=8 + number % 2)
    own, _ = compared(students).sets[0]
    assert {model.label for model in own.models} == {
        "run-050* (run-0501, run-0503)",
        "run-050* (run-0502, run-0504)",
        "student_CMF",
        "student_text",
    }


def test_seeds_that_stopped_at_different_steps_are_one_model(students):
    for seed in (1, 2):
        seeded(students, f"long-{seed}", seed, CMF)
        change(students / f"evaluate_long-{seed}" / "result.json", step=10 * seed)
    labels = {model.label: model.seeds for model in compared(students).sets[0][0].models}
    assert labels == {"long-*": 2, "student_CMF": 1, "student_text": 1}


def test_the_same_model_with_other_settings_is_compared_with_itself(students):
    evaluation = students / "evaluate_texts"
    evaluation.mkdir()
    for name in ("result.json", "generated.predictions.jsonl"):
        content = (students / "evaluate_student_CMF" / name).read_bytes()
        (evaluation / name).write_bytes(content)
    benchmark = {"name": "generated", "score": "texts"}
    config = {"verb": "evaluate", "config": {"benchmarks": [benchmark]}}
    files.write_json(evaluation / "config.json", config)
    own, _ = compared(students).sets[0]
    assert {model.label for model in own.models} == {
        "student_CMF (evaluate_student_CMF)",
        "student_CMF (evaluate_texts)",
        "student_text",
    }


def test_the_same_questions_scored_in_two_ways_by_one_evaluation_are_told_by_their_benchmarks(
    students,
):
    evaluation = students / "evaluate_student_CMF"
    predictions = (evaluation / "generated.predictions.jsonl").read_bytes()
    (evaluation / "texts.predictions.jsonl").write_bytes(predictions)
    result = files.read_json(evaluation / "result.json")
    result["benchmarks"]["texts"] = result["benchmarks"]["generated"]
    files.write_json(evaluation / "result.json", result)
    benchmarks = [{"name": "generated"}, {"name": "texts", "score": "texts"}]
    config = {"verb": "evaluate", "config": {"benchmarks": benchmarks}}
    files.write_json(evaluation / "config.json", config)
    own, pairs = compared(students).sets[0]
    assert {model.label for model in own.models} == {
        "student_CMF (evaluate_student_CMF, generated)",
        "student_CMF (evaluate_student_CMF, texts)",
        "student_text",
    }
    figures = compared(students).figures()
    assert len({(*one["first_benchmark"], *one["second_benchmark"]) for one in figures}) > 1
    assert len(pairs) == len(figures) == 3


@pytest.fixture
def many(students):
    """Seven models on the same questions, two of them students."""
    for rank, name in enumerate(("stage1", "stage2")):
        answer(students / f"evaluate_{name}", "1" * (180 - rank) + "0" * (20 + rank))
        change(students / f"evaluate_{name}" / "result.json", digest=f"sha256:{name}")
    for number in range(3):
        seeded(students, f"other-{number}", 0, "1" * (100 + number) + "0" * (100 - number),
               batch_size=number + 2)  # fmt: skip
        config = files.read_json(students / f"other-{number}" / "config.json")
        config["config"]["data"] = "elsewhere"
        files.write_json(students / f"other-{number}" / "config.json", config)
    return students


def test_of_many_models_each_is_first_compared_with_the_best_of_its_kind(many):
    _, pairs = compared(many).sets[0]
    assert [pair.name for pair in pairs if not pair.further] == [
        "stage1 − stage2",
        "stage1 − other-2",
        "stage1 − other-1",
        "stage1 − other-0",
        "stage1 − student_CMF",
        "student_CMF − student_text",
    ]
    assert "These are not all pairs" in differences(many).caption


def test_the_other_pairs_of_many_models_are_in_the_result_and_folded_on_the_page(many):
    run = make_run(many / "report")
    result = report(ReportConfig(output="", root=str(many), title="Toys"), run)
    pairs = [frozenset((*one["first"], *one["second"])) for one in result["comparisons"]]
    assert len(pairs) == len(set(pairs)) == 21  # of seven models
    assert all(one["difference"] >= 0 for one in result["comparisons"])  # the better one first
    (folded,) = [
        block
        for block in comparison_tables.section(compared(many))
        if isinstance(block, Table) and block.folded
    ]
    assert folded.folded == "15 further pairs" and len(folded.rows) == 15
    (row,) = [row for row in folded.rows if row[0] == "stage2 − student_text"]
    assert row[4:6] == ("24", "0")  # 150 and 5 of the first 179 are right in both
    page = (run.path / "report.html").read_text()
    assert "<details><summary>15 further pairs</summary>" in page
    assert page.count("<details>") == page.count("</details>") == 1
    summary = (run.path / "summary.txt").read_text()
    assert "in percentage points; 15 further pairs in report.html" in summary
    assert "stage2 − student_text" not in summary


def test_of_very_many_pairs_the_page_shows_the_first_and_says_so(many, monkeypatch):
    monkeypatch.setattr(comparison_tables, "_MOST_FURTHER", 10)
    blocks = comparison_tables.section(compared(many))
    (folded,) = [block for block in blocks if isinstance(block, Table) and block.folded]
    assert folded.folded == "15 further pairs" and len(folded.rows) == 10
    assert folded.caption.endswith("The first 10 are shown; all are in result.json.")


def test_models_with_fewer_questions_are_compared_on_those_that_both_have(many):
    answer(many / "evaluate_stage2", "1" * 100, start=50)
    _, pairs = compared(many).sets[0]
    questions = {pair.name: pair.result.questions for pair in pairs}
    assert {number for name, number in questions.items() if "stage2" in name} == {100}
    assert {number for name, number in questions.items() if "stage2" not in name} == {200}
    assert len(questions) == 21


def test_means_over_subjects_are_compared_for_mmlu(students):
    for name, marks in (("student_CMF", CMF), ("student_text", TEXT)):
        folder = students / f"evaluate_{name}"
        answer(folder, marks, subjects=("law", "law", "law", "anatomy"))
        benchmark = {"name": "generated", "format": "mmlu"}
        config = {"verb": "evaluate", "config": {"benchmarks": [benchmark]}}
        files.write_json(folder / "config.json", config)
    own, (pair,) = compared(students).sets[0]
    assert own.macro
    at = range(150, 170)
    signs = {number: 1 if number < 165 else -1 for number in at}
    anatomy = sum(sign for number, sign in signs.items() if number % 4 == 3) / 50
    law = sum(sign for number, sign in signs.items() if number % 4 != 3) / 150
    assert pair.result.difference == pytest.approx((anatomy + law) / 2)
    caption = differences(students).caption
    assert "p is about all questions" in caption and "variance of the differences" in caption
    assert "Connor" not in caption


@pytest.mark.parametrize(
    ("more", "seeds", "difference", "text"),
    [
        (0, (1, 1), 0.1, "none"),
        (1234, (1, 1), 0.1, "1,234"),
        (3_000_000, (1, 1), 0.0001, "over 1,000,000"),
        (None, (1, 1), 0.0, "no difference"),
        (None, (3, 3), 0.01, "more seeds"),
    ],
)
def test_the_number_of_further_questions_in_words(more, seeds, difference, text):
    result = paired.PairedComparison(
        questions=100, seeds=seeds, difference=difference, interval=(-0.1, 0.1),
        only_first=5, only_second=4, p_values=(0.5,), more_questions=more,
    )  # fmt: skip
    assert comparison_tables.more_text(result) == text


def test_evaluations_that_cannot_be_compared_are_named(runs):
    run = make_run(runs / "report")
    result = report(ReportConfig(output="", root=str(runs), title="Toys"), run)
    assert result["comparisons"] == []
    page = (run.path / "report.md").read_text()
    assert "Not compared question by question" in page
    assert "evaluate_stage1: has no generated.predictions.jsonl" in page


def test_a_report_of_one_evaluation_has_no_such_section(tmp_path, runs):
    answer(runs / "evaluate_stage1", CMF)
    (tmp_path / "alone").mkdir()
    (runs / "evaluate_stage1").rename(tmp_path / "alone" / "one")
    assert comparison_tables.section(compared(tmp_path / "alone")) == []


def test_a_single_evaluation_without_answers_is_named(tmp_path, runs):
    (tmp_path / "alone").mkdir()
    (runs / "evaluate_stage1").rename(tmp_path / "alone" / "one")
    assert comparison_tables.section(compared(tmp_path / "alone")) == [
        Heading("Comparisons"),
        Notice("Not compared question by question", ("one: has no generated.predictions.jsonl",)),
    ]


def test_the_p_values_of_several_seeds_are_the_lowest_and_the_highest(students):
    for seed in (3, 1, 2):
        seeded(students, f"long-{4 - seed}", seed, "1" * (160 + seed) + "0" * (40 - seed))
        seeded(students, f"short-{seed}", seed, "1" * (150 - seed) + "0" * (50 + seed), steps=9)
    _, pairs = compared(students).sets[0]
    pair = next(pair for pair in pairs if pair.name == "long-* − short-*")
    assert pair.first.accuracies == [0.805, 0.81, 0.815]  # in the order of their seeds
    assert pair.result.p_values == tuple(paired.mcnemar(10 + 2 * seed, 0) for seed in (1, 2, 3))
    assert comparison_tables.p_text(pair.result) == "all < 0.001"
