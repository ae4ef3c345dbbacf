"""The study of stages and explanations: its samples, comparisons and pipelines."""

import collections
import pathlib
import re

import pytest

from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import comparisons, outcomes, page, samples
from benchmarks.evidence.comparisons import Comparison
from teacherlm_jax.cli import config_file
from teacherlm_jax.config import fields
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import KINDS
from teacherlm_jax.errors import UserError
from teacherlm_jax.pipelines.evidence_steps import study_students
from teacherlm_jax.storage import files

CONFIGS = config_file.load(pathlib.Path(__file__).parents[1] / "configs" / "evidence.py")


@pytest.fixture(scope="module")
def drawn():
    return list(samples.with_authors(list(synthetic.generate(270, 5)), seed=5))


def texts(drawn, kind, author):
    return [sample.explanation(kind, author) for sample in drawn]


@pytest.mark.parametrize("kind", KINDS)
def test_permuted_explanations_are_all_true_ones_of_other_samples_of_the_family(drawn, kind):
    true = texts(drawn, kind, synthetic.AUTHOR)
    permuted = texts(drawn, kind, study_students.PERMUTED_AUTHOR)
    assert collections.Counter(permuted) == collections.Counter(true)
    families = collections.defaultdict(set)
    for sample, text in zip(drawn, true, strict=True):
        families[sample.source].add(text)
    assert all(
        text in families[sample.source] for sample, text in zip(drawn, permuted, strict=True)
    )
    right = [synthetic.check(*each).ok for each in zip(drawn, [kind] * 270, permuted, strict=True)]
    assert sum(right) < 0.35 * len(right)  # families with few answers repeat some texts


@pytest.mark.parametrize("share", study_students.FALSE_SHARES)
def test_the_share_of_false_chains_of_thought_is_the_stated_one(drawn, share):
    author = study_students.false_author(share)
    false = [
        not synthetic.check(sample, "cot", sample.explanation("cot", author)).ok for sample in drawn
    ]
    assert sum(false) / len(false) == pytest.approx(share / 100, abs=0.09)


def test_samples_with_a_larger_false_share_include_those_with_a_smaller_one(drawn):
    wrong = [
        {
            sample.id
            for sample in drawn
            if not synthetic.check(
                sample, "cot", sample.explanation("cot", study_students.false_author(share))
            ).ok
        }
        for share in study_students.FALSE_SHARES
    ]
    assert wrong[0] < wrong[1] < wrong[2] < wrong[3]


def test_texts_are_permuted_within_the_samples_of_a_student(tmp_path):
    samples.write_all(tmp_path, [3])
    for amount in (250, 1000, 4000):
        rows = [row for _, row in files.read_jsonl(tmp_path / f"seed-3/train-{amount}.jsonl")]
        assert len(rows) == amount
        for kind in KINDS:
            texts = [row["explanations"][kind] for row in rows]
            true, permuted = (
                [text[author] for text in texts] for author in ("program", "permuted")
            )
            assert collections.Counter(permuted) == collections.Counter(true)
        settings = CONFIGS.get_config(f"student_data/{amount}/seed-3")
        assert [one.path for one in settings.sources] == [f"train-{amount}.jsonl"]
        assert settings.sources[0].limit == 0


def test_the_sets_of_a_teacher_share_no_question_and_no_held_out_family(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(samples, "_write", lambda *args, **kwargs: calls.append((args, kwargs)))
    samples.write_all(tmp_path, [3])
    rows = {}
    for (path, count, seed, split, *families), extra in calls:
        skip = extra.get("skip", 0)
        if path.name != "vocabulary.jsonl":
            made = synthetic.generate(
                skip + min(count, 300), seed, families[0] if families else None, split
            )
            rows[path.stem] = list(made)[skip:]
    explained = [sample.question for sample in rows["explained"]]
    assert not set(explained) & {sample.question for sample in rows["plain"]}
    shown = {sample.source for name in ("explained", "plain") for sample in rows[name]}
    assert not shown & {sample.source for sample in rows["unseen"]}


def test_an_accuracy_between_two_validations_is_interpolated():
    curve = [(100, 0.5), (200, 0.7)]
    assert comparisons.accuracy_at(curve, 150) == pytest.approx(0.6)
    assert comparisons.accuracy_at(curve, 200) == 0.7
    with pytest.raises(ValueError, match="step 90 is not between 100 and 200"):
        comparisons.accuracy_at(curve, 90)


def student(arm, seed, curve, pass_tokens, tokens=1000):
    return {
        "arm": arm,
        "amount": 10,
        "seed": seed,
        "curve": curve,
        "steps": curve[-1][0],
        "tokens": tokens,
        "pass_tokens": pass_tokens,
    }


def test_students_are_compared_at_the_largest_budget_that_both_reached():
    rows = [
        student("text", 0, [(20, 0.1), (50, 0.4), (100, 0.8)], pass_tokens=50),
        student("CMF", 0, [(50, 0.5), (100, 0.7)], pass_tokens=100, tokens=800),
        student("CMF", 1, [(50, 0.5), (100, 0.7)], pass_tokens=100),  # no partner
    ]
    differences = {
        budget: comparisons.of_students(rows, "CMF", "text", 10, budget).differences
        for budget in page.BUDGETS
    }
    assert differences["steps"] == pytest.approx((100 * (0.7 - 0.8),))
    assert differences["tokens"] == pytest.approx((100 * (0.7 - 0.64),))
    # CMF made 8 passes of 100 tokens, which text made after step 40.
    assert differences["passes"] == pytest.approx((100 * (0.7 - 0.3),))
    assert comparisons.of_students(rows, "C", "text", 10, "steps") is None


def test_the_p_value_counts_all_flips_of_the_signs():
    assert Comparison((1.0, 2.0, 3.0)).p == 2 / 8
    assert Comparison((1.0, -1.0)).p == 1.0
    assert Comparison((1.0,)).p == 1.0
    assert Comparison((3.0, -1.0, 2.0, 4.0)).p == 4 / 16


def test_the_interval_is_that_of_students_t():
    comparison = Comparison((1.0, 3.0))
    assert comparison.half == pytest.approx(12.7062, abs=1e-3)
    assert Comparison((1.0,)).half == float("inf")


@pytest.mark.parametrize(
    ("differences", "p", "expected"),
    [
        ((1.0, 1.1, 0.9), 0.01, "supported"),
        ((-1.0, -1.1, -0.9), 0.01, "contradicted"),
        ((1.0, 1.1, 0.9), 0.05, "undecided"),
        ((1.0, 1.1, -0.9), 0.01, "undecided"),
    ],
)
def test_a_verdict_needs_the_interval_and_the_adjusted_p_value(differences, p, expected):
    assert page.verdict(Comparison(differences), p) == expected


def test_the_seeds_needed_are_those_of_published_tables():
    # Cohen 1988: a paired t-test at 0.05 with a power of 0.8 needs 34 pairs for d = 0.5.
    differences = (0.5 + 2**-0.5, 0.5 - 2**-0.5)  # mean 0.5, standard deviation 1
    assert Comparison(differences).needed(0.05) == 34
    assert Comparison((0.0, 0.0)).needed(0.05) == 1000


def test_p_values_are_adjusted_for_their_number():
    adjusted = comparisons.holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


@pytest.mark.parametrize(
    "form",
    [
        *("students", "forms", "amounts", "stages", "causes", "written"),
        *("students,short", "stages,short", "causes,short", "causes,tiny", "written,tiny"),
    ],
)
def test_every_step_has_a_config_that_writes_to_its_folder(form):
    pipeline = CONFIGS.get_config(form)
    assert not list(fields.problems(pipeline, "config"))
    for step in pipeline.steps:
        settings = CONFIGS.get_config(step.config.partition(":")[2])
        assert settings.output == step.output
        assert not list(fields.problems(settings, "config"))


@pytest.mark.parametrize(("part", "base"), [("students", "text"), ("forms", "text"),
                                            ("causes", "CMF"), ("written", "CMF")])  # fmt: skip
def test_a_part_trains_the_arm_that_others_are_compared_with(part, base):
    steps = [step.name for step in CONFIGS.get_config(f"{part},seeds=1").steps]
    assert f"student/{base}/1000/seed-0" in steps


def test_outcomes_are_read_from_run_folders(tmp_path):
    run = tmp_path / "student/CMF/10/seed-4"
    figures = {"steps": 2, "tokens": 900, "parameters": 7, "seconds": 1.5}
    files.write_json(run / "result.json", figures)
    files.write_jsonl(run / "validation.jsonl", [{"step": 2, "test/accuracy": 0.5}])
    data = {"mixtures": {"CMF": {"tokens": 300}}}
    files.write_json(tmp_path / "student_data/10/seed-4/result.json", data)
    assert outcomes.students(tmp_path) == [
        {
            "arm": "CMF",
            "amount": 10,
            "seed": 4,
            "curve": [(2, 0.5)],
            "pass_tokens": 300,
            **figures,
        }
    ]


def write_student(root, arm, seed, accuracies, amount=1000):
    run = root / f"student/{arm}/{amount}/seed-{seed}"
    figures = {"steps": 200, "tokens": 900, "parameters": 7, "seconds": 1.5}
    files.write_json(run / "result.json", figures)
    steps = (100, 200)
    rows = [{"step": s, "test/accuracy": a} for s, a in zip(steps, accuracies, strict=True)]
    files.write_jsonl(run / "validation.jsonl", rows)
    data = {
        "mixtures": {key: {"tokens": 300} for key in ("text", "CMF", "CMF-permuted", "CMF-false25")}
    }
    files.write_json(root / f"student_data/{amount}/seed-{seed}/result.json", data)


def test_a_part_has_its_own_arms_and_seeds(tmp_path):
    for arm in ("text", "CMF", "CMF-permuted", "CMF-false25"):
        for seed in (0, 1000):
            write_student(tmp_path, arm, seed, (0.5, 0.6))
    students = evidence.rows_of("students", tmp_path, range(8))
    assert [(row["arm"], row["seed"]) for row in students] == [
        ("CMF", 0), ("CMF-permuted", 0), ("text", 0),
    ]  # fmt: skip
    causes = evidence.rows_of("causes", tmp_path, range(1000, 1001))
    assert [(row["arm"], row["seed"]) for row in causes] == [("CMF", 1000), ("CMF-false25", 1000)]


def test_the_tables_show_differences_with_intervals(tmp_path):
    for seed, gain in enumerate((0.1, 0.2)):
        write_student(tmp_path, "text", seed, (0.4, 0.5))
        write_student(tmp_path, "CMF", seed, (0.4, 0.5 + gain))
    rows = evidence.rows_of("students", tmp_path, range(2))
    lines = page.TABLES["students"](rows).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0][:3] == ["1000 samples", "accuracy, %", "equal steps"]
    assert cells[2][:3] == ["text", "50.0", ""]
    assert cells[3][:3] == ["CMF", "65.0", "+15.0 ± 63.5"]  # t of one degree of freedom: 12.7
    primary = page.TABLES["primary"]({"students": rows})
    assert "| H1: CMF against text, equal passes | +15.0 ± 63.5" in re.sub(" +", " ", primary)
    assert "0.500" in primary  # two seeds cannot show more
    assert "| 2 | 0.500 | 1.000 | undecided | 6 |" in re.sub(" +", " ", primary)  # of five


def test_the_stages_are_compared_on_letters_and_explanations():
    teachers = [
        {"size": "small", "stage": stage, "seed": seed, "trained": 0.6 + gain, "unseen": 0.5}
        | {"parameters": 1234}
        for stage, gain in (("stage2", 0.1), ("no_stage", 0.0))
        for seed in (0, 1)
    ]
    writers = [
        {"size": "small", "writer": writer, "seed": seed}
        | {"correct": dict.fromkeys(KINDS, 0.2 + gain)}
        for writer, gain in (("stage2", 0.3), ("no_stage", 0.0))
        for seed in (0, 1)
    ]
    text = re.sub(" +", " ", page.TABLES["stages"]({"teachers": teachers, "writers": writers}))
    row = "| small, 1,234 | +10.0 ± 0.0 | +0.0 ± 0.0 | +30.0 ± 0.0 | +30.0 ± 0.0 | +30.0 ± 0.0 |"
    assert row in text
    assert "| small | stage2 | 70.0 | 50.0 |" in text
    assert "| small | stage2 | 50.0 | 50.0 | 50.0 |" in text


@pytest.mark.parametrize(
    "name",
    [
        *("student/CMZ/1000/seed-0", "student/CMF/500/seed-0", "student/CMF-stage2/250/seed-0"),
        *("teacher/small/stage2", "stage_data/7", "written_data/no_stage/seed-0"),
        "write/small/stage2/seed-0",
    ],
)
def test_a_step_that_the_study_lacks_is_refused_with_examples(name):
    with pytest.raises(UserError, match=f"unknown variant '{name}'; known: students, forms"):
        CONFIGS.get_config(name)


def test_the_arms_are_trained_on_explanations_that_the_samples_have(drawn):
    authors = {author for _, author in (study_students.STUDENTS | study_students.CAUSES).values()}
    assert authors == set(drawn[0].explanations["cot"])


@pytest.mark.parametrize(
    ("words", "folder", "seeds", "recorded"),
    [
        ([], "runs/evidence", range(10), ["students", "forms", "causes", "amounts"]),
        (["--parts=forms"], "runs/evidence", range(10), ["forms"]),
        (["--short"], "runs/evidence_pilot", range(1000, 1002), []),
        (["--tiny"], "runs/evidence_tiny", range(1000, 1001), []),
        (["--seeds=3"], "runs/evidence_pilot", range(1000, 1003), []),
        (["--first=1010", "--folder=x"], "x", range(1010, 1020), []),
    ],
)
def test_only_the_seeds_of_the_protocol_are_recorded(words, folder, seeds, recorded, monkeypatch):
    written, seen = [], {}
    monkeypatch.setattr(evidence, "run", lambda part, options: seen.setdefault("run", options))
    monkeypatch.setattr(samples, "write_all", lambda root, given: seen.update(drawn=(root, given)))
    monkeypatch.setattr(evidence, "record", lambda part, rows: written.append(part))
    monkeypatch.setattr(evidence, "rebuild", lambda: None)
    monkeypatch.setattr(page, "TABLES", collections.defaultdict(lambda: lambda rows: ""))
    empty = {"stages": {"teachers": [], "writers": []}}
    monkeypatch.setattr(evidence, "rows_of", lambda part, *given: empty.get(part, []))
    assert evidence.main(words) == 0
    assert seen["drawn"] == (pathlib.Path(folder) / "samples", seeds)
    assert seen["run"].first == seeds.start
    assert written == recorded


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--parts=stage"], "unknown part 'stage'"),
        (["--parts=stages"], "the protocol of 'stages' is not finished"),
        (["--short", "--first=0"], "a run that does not count needs at least 1000"),
        (["--seeds=2", "--first=5"], "a run that does not count needs at least 1000"),
    ],
)
def test_runs_that_the_protocol_does_not_allow_are_refused(words, fault, capsys):
    with pytest.raises(SystemExit):
        evidence.main(words)
    assert fault in capsys.readouterr().err


def test_the_page_is_rebuilt_from_recorded_outcomes(tmp_path, monkeypatch):
    for seed in (0, 1):
        write_student(tmp_path, "text", seed, (0.4, 0.5))
        write_student(tmp_path, "CMF", seed, (0.4, 0.6))
    target = tmp_path / "evidence.md"
    target.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", target)
    monkeypatch.setattr(page, "FIGURE", tmp_path / "evidence-students.svg")
    monkeypatch.setattr(evidence.harness, "RESULTS", tmp_path)
    evidence.record("students", evidence.rows_of("students", tmp_path, range(2)))
    evidence.rebuild()
    shown = target.read_text(encoding="utf-8")
    assert "](evidence-students.svg)" in shown and "These trainings took 0.0 hours" in shown
    drawing = page.FIGURE.read_text(encoding="utf-8")
    # One amount and two budgets: a point and its interval in each of the two panels.
    assert len(re.findall(r'aria-roledescription="point"', drawing)) == 2
    assert "| H2: CMF against text, equal tokens" in shown
