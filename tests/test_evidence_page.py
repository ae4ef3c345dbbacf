"""The page of the study, docs/explanation/evidence.md: its tables and the figures in its text."""

import math
import re
import statistics

from scipy import optimize, stats

from benchmarks import harness
from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import comparisons, page, real_tables, recorded, student_tables, tables
from benchmarks.evidence.student_tables import BUDGETS
from teacherlm_jax.data import sample
from teacherlm_jax.pipelines.evidence_steps import study_real
from teacherlm_jax.pipelines.evidence_steps.study_students import false_author
from teacherlm_jax.storage import files

OUTDATED = "run `python -m benchmarks.evidence --page`"
MARKED = re.compile(r"<!-- ([\w-]+) -->\n.*?<!-- /\1 -->", re.DOTALL)


def test_the_page_is_what_the_recorded_outcomes_give(tmp_path, monkeypatch):
    committed = page.PAGE.read_text(encoding="utf-8")
    (tmp_path / "evidence.md").write_text(committed, encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", tmp_path / "evidence.md")
    evidence.rebuild()
    assert page.PAGE.read_text(encoding="utf-8") == committed, OUTDATED
    assert _figures(tmp_path) == _figures(harness.DOCS / "explanation"), OUTDATED


def _figures(folder):
    """Return the descriptions of all marks of each figure: they state what it shows."""
    return {
        path.name: re.findall(r'aria-label="([^"]+)"', path.read_text(encoding="utf-8"))
        for path in folder.glob("evidence-*.svg")
    }


def test_the_differences_in_the_text_are_those_of_the_tables():
    text = page.PAGE.read_text(encoding="utf-8").partition("## Pilot")[0]
    star = harness.RESULTS_PAGE.read_text(encoding="utf-8").partition("<!-- star -->")[2]
    tables = "".join(match.group() for match in MARKED.finditer(text)) + star
    differences = re.findall(r"\d+\.\d ± \d+\.\d", MARKED.sub("", text))
    assert len(differences) > 8
    computed = " ".join(_of_sizes().values())
    for difference in differences:
        assert re.search(rf"[ +-]{re.escape(difference)} ", f"{tables} {computed} "), difference


def _of_sizes():
    """Return differences between sizes and stages of teachers that no table has, by name."""
    accuracy = {}
    for row in recorded.rows_of(recorded.read_all())["teachers"]:
        accuracy.setdefault((row["size"], row["stage"]), {})[row["seed"]] = 100 * row["trained"]

    def minus(one, other):
        return {seed: one[seed] - other[seed] for seed in one}

    effect = {
        size: minus(accuracy[size, "stage2"], accuracy[size, tables.CONTROL])
        for size in ("small", "medium", "large")
    }
    large = accuracy["large", tables.CONTROL]
    compared = {
        **{f"effect, {size}": minus(effect["large"], effect[size]) for size in ("small", "medium")},
        **{
            f"control, {size}": minus(large, accuracy[size, tables.CONTROL])
            for size in ("small", "medium")
        },
        **{
            kind: minus(accuracy["large", f"stage3_{kind}"], accuracy["large", "stage2"])
            for kind in sample.KINDS
        },
    }
    return {
        name: comparisons.with_half_width(comparisons.Comparison(tuple(values.values())))
        for name, values in compared.items()
    }


def test_the_statements_about_differences_between_sizes_follow_from_the_records():
    found = _of_sizes()
    assert {name for name, value in found.items() if value[0] == "+"} == {
        "effect, small",
        "effect, medium",
    }
    text = page.PAGE.read_text(encoding="utf-8")
    size = {name: value[1:] for name, value in found.items()}
    higher, less = "points higher", "points less"
    for sentence in (
        f"is {size['effect, small']} {higher} for large teachers than for small ones",
        f"and {size['effect, medium']} {higher} than for medium ones",
        f"which is {size['control, medium']} {less} than that of medium size",
        f"and {size['control, small']} less than the small one",
        f"chains of thought {found['cot']} points, fundamentals {found['fundamental']}",
        f"common mistakes {found['mistake']}",
    ):
        assert sentence in text


def test_the_result_at_the_top_has_the_sign_and_size_of_the_records():
    rows = recorded.rows_of(recorded.read_all())
    primary = tables.primary(rows)
    beside_causes = student_tables.with_base("causes", rows)
    text = page.PAGE.read_text(encoding="utf-8").partition("**What to conclude.**")[0]

    def of_arms(*arguments, students=rows["students"]):
        return comparisons.of_arms(students, *arguments)

    higher = {
        "are {} points above students without any at equal passes": primary["H1"],
        "{} points above them at equal tokens": primary["H2"],
        "{} points above students with explanations of other samples at equal steps": primary["H3"],
        "At equal tokens, CMF is {} points above no explanations with 250 samples": of_arms(
            "CMF", "text", 250, "tokens"
        ),
        "they are {} points above students without any at equal tokens": of_arms(
            "taught-specialists", "taught-text", 1000, "tokens"
        ),
        "they are {} points above them at equal tokens": of_arms(
            "taught-each", "taught-text", 1000, "tokens"
        ),
    }
    lower = {
        "are {} points less accurate than teachers trained on the same data mixed": primary["H4"],
        "The share of their explanations that are correct is {} points lower": primary["H5"],
        "and {} points below with 4,000": of_arms("CMF", "text", 4000, "tokens"),
        "CMF is {} points *below* no explanations at equal steps": of_arms(
            "CMF-whole-text", "text-whole-text", 1000, "steps"
        ),
        "students are {} points below students without any at equal tokens": of_arms(
            "taught-stage2", "taught-text", 1000, "tokens"
        ),
        "{} points below students with true ones at equal steps": of_arms(
            "taught-stage2", "taught-CMF", 1000, "steps"
        ),
        "may have harmed: -{} points at equal steps": of_arms(
            "taught-each-checked", "taught-each", 1000, "steps"
        ),
    }
    for sign, sentences in (("+", higher), ("-", lower)):
        for sentence, comparison in sentences.items():
            difference = comparisons.with_half_width(comparison)
            assert difference[0] == sign, sentence
            assert sentence.format(difference[1:]) in text
    false = [
        of_arms(f"CMF-{false_author(share)}", "CMF", 1000, "steps", students=beside_causes)
        for share in (25, 50, 75, 100)
    ]
    assert all(one.mean + one.half < 0 for one in false)
    least, *_, most = sorted(-one.mean for one in false)
    assert f"the accuracy is {least:.1f} to {most:.1f} points lower than with true ones" in text
    single = sorted(of_arms(form, "text", 1000, "tokens").mean for form in "CMF")
    assert f"are {single[0]:.1f} to {single[-1]:.1f} points above students without any" in text


def test_the_shares_of_correct_and_of_checked_texts_are_those_of_the_records():
    rows = recorded.rows_of(recorded.read_all())
    correct = {
        writer: 100
        * statistics.fmean(
            statistics.fmean(row["correct"].values())
            for row in rows["written"]
            if row["writer"] == writer
        )
        for writer in ("stage2", "specialists")
    }
    texts = {
        arm: sum(row["texts"] for row in rows["students"] if row["arm"] == arm)
        for arm in ("taught-each", "taught-each-checked")
    }
    left_out = 100 * (1 - texts["taught-each-checked"] / texts["taught-each"])
    text = page.PAGE.read_text(encoding="utf-8")
    assert f"On average, {correct['stage2']:.0f}% of the teacher's explanations are correct" in text
    assert f"correct in {correct['stage2']:.0f}% of the cases on average" in text
    assert f"and those of the specialists in {correct['specialists']:.0f}%" in text
    assert f"The check leaves out {left_out:.0f}% of the texts" in text


def test_the_statements_about_sizes_follow_from_the_records():
    rows = recorded.rows_of(recorded.read_all())
    text = page.PAGE.read_text(encoding="utf-8")
    readme = (harness.ROOT / "README.md").read_text(encoding="utf-8")
    accuracy, correct = (
        {size: compare(size) for size in ("small", "medium", "large")}
        for compare in (
            lambda size: tables.staged(rows["teachers"], size, "trained"),
            lambda size: tables.explained(rows["explained"], size, "stage2"),
        )
    )
    shown = {size: comparisons.with_half_width(one) for size, one in accuracy.items()}
    assert (shown["small"][0], shown["large"][0]) == ("-", "+")
    assert (
        f"Large teachers are {shown['large'][1:]} points more accurate if they are trained in "
        f"stages 1 and 2, and small ones {shown['small'][1:]} points less."
    ) in text
    restarted = tables.staged(rows["teachers"], "large", "trained", other=tables.RESTARTED)
    control = tables.staged(rows["teachers"], "large", "trained", tables.RESTARTED)
    above, below = map(comparisons.with_half_width, (restarted, control))
    assert (above[0], below[0]) == ("+", "-")
    assert f"large teachers are also {above[1:]} points more accurate than a control with" in text
    assert f"This control is {below[1:]} points less accurate than the one without" in text
    mean, bounds = comparisons.with_bounds(accuracy["large"]).split(" ", 1)
    assert f"large teachers are {mean[1:]} more accurate {bounds[:-1]}" in readme
    mean, bounds = comparisons.with_bounds(correct["small"]).split(" ", 1)
    assert f"small ones explain {mean[1:]} worse {bounds}" in readme and mean[0] == "-"
    of_explanations = [comparisons.with_half_width(one) for one in correct.values()]
    assert (
        "the differences are {} (small), {} (medium) and {} (large)".format(*of_explanations)
    ) in text
    control = [
        100 * statistics.fmean(row["trained"] for row in rows["teachers"]
                               if (row["size"], row["stage"]) == (size, tables.CONTROL))
        for size in ("large", "medium", "small")
    ]  # fmt: skip
    pattern = r"large teachers has only (.+)%, .* size \((.+)%\) and .* small one \((.+)%\)"
    found = re.search(pattern, text)
    assert found.groups() == tuple(f"{mean:.1f}" for mean in control)


def test_the_time_of_all_parts_is_the_sum_of_the_records():
    seconds = sum(
        of_seed["training_seconds"]
        for part, records in recorded.read_all().items()
        if part != study_real.PART
        for of_seed in records.values()
    )
    text = page.PAGE.read_text(encoding="utf-8")
    assert f"on generated samples took {seconds / 3600:.1f} core-hours in total" in text


def test_the_time_of_each_part_is_that_of_its_records():
    hours = {
        part: sum(of_seed["training_seconds"] for of_seed in records.values()) / 3600
        for part, records in recorded.read_all().items()
    }
    listed = ", ".join(f"{part} {time:.1f}" for part, time in hours.items())
    text = page.PAGE.read_text(encoding="utf-8")
    assert f"core-hours of training steps are: {listed}." in text


def test_the_control_reads_about_as_many_tokens_as_the_stages():
    tokens = {}
    for row in recorded.rows_of(recorded.read_all())["teachers"]:
        tokens.setdefault((row["size"], row["seed"]), {})[row["stage"]] = row["tokens"]
    more = [
        100 * (of_stage["no_stage"] / (of_stage["stage1"] + of_stage["stage2"]) - 1)
        for of_stage in tokens.values()
    ]
    text = page.PAGE.read_text(encoding="utf-8")
    assert f"the control reads {min(more):.1f} to {max(more):.1f}% more tokens" in text


def test_the_differences_in_the_readme_are_those_of_the_records():
    readme = (harness.ROOT / "README.md").read_text(encoding="utf-8")
    summary = readme.partition("## Do explanations help?")[2].partition("\n## ")[0]
    rows = recorded.rows_of(recorded.read_all())
    primary = tables.primary(rows)
    few, many = (
        comparisons.of_arms(rows["students"], "CMF", "text", amount, "tokens")
        for amount in (250, 4000)
    )
    expected = {
        "at equal tokens": (
            primary["H2"],
            "are {} points above those without at equal tokens ({})",
        ),
        "at equal passes": (primary["H1"], "and {} at equal passes ({})"),
        "H4": (primary["H4"], "are {} points less accurate than on mixed data ({})"),
        "H5": (primary["H5"], "explain {} points worse ({})"),
        "250": (few, "{} above with 250 samples ({})"),
        "4000": (many, "{} below with 4,000 ({})"),
    }
    summary = summary.replace("95% interval ", "")
    for name, (comparison, sentence) in expected.items():
        mean, bounds = comparisons.with_bounds(comparison).split(" ", 1)
        assert sentence.format(mean[1:], bounds[1:-1]) in summary, name
        less = any(word in sentence for word in ("worse", "less", "below"))
        assert mean[0] == ("-" if less else "+"), name


def test_the_spread_of_students_that_were_trained_twice_is_that_of_the_records():
    rows = recorded.rows_of(recorded.read_all())
    again = [row for row in rows["bases"] if row["part"] == "causes"]
    once = [row for row in rows["students"] if row["arm"] == "CMF" and row["amount"] == 1000]
    accuracies = [
        {row["seed"]: 100 * row["curve"][-1][1] for row in runs} for runs in (once, again)
    ]
    differences = [accuracies[1][seed] - accuracies[0][seed] for seed in range(10)]
    text = page.PAGE.read_text(encoding="utf-8")
    assert f"is {statistics.fmean(differences):.1f} points higher on average" in text
    assert f"standard deviation of the differences is {statistics.stdev(differences):.1f}." in text


def test_the_statements_about_numbers_of_samples_follow_from_the_records():
    curves, passes = {}, {}
    for row in recorded.rows_of(recorded.read_all())["students"]:
        key = row["arm"], row["amount"], row["seed"]
        curves[key] = [(step, 100 * accuracy) for step, accuracy in row["curve"]]
        passes[key] = row["tokens"] / row["pass_tokens"] / row["steps"]  # of one step

    def mean(arm, amount, step_of):
        keys = [(arm, amount, seed) for seed in range(10)]
        return statistics.fmean(comparisons.accuracy_at(curves[key], step_of(key)) for key in keys)

    text = page.PAGE.read_text(encoding="utf-8")
    few = [mean("text", 250, lambda _, at=step: at) for step, _ in curves["text", 250, 0]]
    assert f"between {min(few):.0f} and {max(few):.0f}% at all steps" in text
    early = mean("text", 4000, lambda _: 4000) - mean("CMF", 4000, lambda _: 4000)
    assert f"After 4,000 steps it was {early:.1f} points below" in text

    def step(key):  # after as many passes as CMF makes with 1,000 samples
        whole = ("CMF", 1000, key[2])
        return curves[whole][-1][0] * passes[whole] / passes[key]

    accuracies = {
        (arm, seed): comparisons.accuracy_at(curve, step((arm, amount, seed)))
        for (arm, amount, seed), curve in curves.items()
        if amount == 250
    }
    gains = comparisons.paired(accuracies, "CMF", "text")
    mean_gain, interval = comparisons.with_bounds(gains).lstrip("+").split(" ", 1)
    assert f"it is {mean_gain} points above (interval {interval[1:-1]})" in text
    steps = statistics.fmean(step(("CMF", 250, seed)) for seed in range(10))
    assert f"only about {round(steps, -1):,.0f} steps" in text


def test_the_counts_of_real_questions_and_their_pilot_are_those_of_the_records():
    rows = recorded.rows_of(recorded.read_all())["real"]
    of_benchmark = {row["benchmark"]: row for row in rows}
    held_out, papers = (
        sum(row["questions"] for name, row in of_benchmark.items() if ("held_out" in name) == held)
        for held in (True, False)
    )
    text = page.PAGE.read_text(encoding="utf-8")
    assert f"is held out ({held_out:,} questions)" in text
    assert f"on the other {rows[0]['amount']:,} samples" in text
    assert f"and {papers:,} questions of the paper's benchmarks" in text
    assert f"tokens ({rows[0]['parameters'] / 1e6:.1f} million parameters)" in text
    passes = {row["arm"]: row["tokens"] / row["pass_tokens"] for row in rows}
    assert (
        f"`text` makes {passes['text']:.1f} passes over its texts, and `C` {passes['C']:.1f}."
        in text
    )

    pilot = files.read_json(harness.RESULTS / "evidence" / "pilot.json")

    def shown(design, step, *sets):
        """Return accuracies of both arms, and the largest one above the majority, in points."""
        found = [
            (100 * accuracy, 100 * (accuracy - of_benchmark[name]["majority"]))
            for row in pilot[design]
            if row["step"] == step
            for name, accuracy in row["accuracies"].items()
            if name.startswith(sets)
        ]
        return [accuracy for accuracy, _ in found], max(above for _, above in found)

    assert f"at most {shown('real_4_layers_of_160', 1800, '')[1]:.1f} points above" in text
    creak, above_creak = shown("real_medium", 7200, "creak")
    ecqa, above_ecqa = shown("real_medium", 7200, "ecqa")
    assert (
        f"{min(creak):.0f} to {max(creak):.0f}% on CREAK and {min(ecqa):.0f} to {max(ecqa):.0f}% "
        f"on ECQA, no more than {max(above_creak, above_ecqa):.1f} points above"
    ) in text


def test_the_statements_about_real_questions_follow_from_the_records():
    rows = recorded.rows_of(recorded.read_all())
    found = []
    for benchmark in study_real.BENCHMARKS:
        pairs = [(arm, "text", budget) for arm in list(study_real.ARMS)[1:] for budget in BUDGETS]
        for arm, other, budget in (*pairs, ("C", "C-permuted", "steps")):
            found.append(real_tables.comparison_of(rows, benchmark, arm, other, budget))
    apart = [comparisons.with_bounds(one) for one in found if abs(one.mean) > one.half]
    of_two = [row for row in rows["real"] if not row["benchmark"].startswith("ecqa")]
    shares = [
        any(
            math.isclose(row["curve"][-1][1], share, abs_tol=1e-6)
            for share in (row["majority"], 1 - row["majority"])
        )
        for row in of_two
    ]
    text = page.PAGE.read_text(encoding="utf-8").partition("### Real questions")[2]
    assert f"in {sum(shares)} of {len(shares)} cases (30 students, four sets" in text
    assert f"Of the {len(found)} differences in the tables, three have" in text
    assert len(apart) == 3 and all(f" {one} on " in text for one in apart)
    assert all(
        mean - half < 100 * runs[0]["majority"]
        for benchmark in study_real.BENCHMARKS
        for arm in study_real.ARMS
        for runs in [
            [row for row in rows["real"] if (row["benchmark"], row["arm"]) == (benchmark, arm)]
        ]
        for mean, half in [real_tables.accuracy_with_interval(runs)]
    )


def _found_with_power(power, level, seeds):
    """Return the true difference, in standard deviations, that a paired t-test finds."""
    limit = stats.t.ppf(1 - level / 2, seeds - 1)
    return optimize.brentq(
        lambda effect: stats.nct.sf(limit, seeds - 1, effect * math.sqrt(seeds)) - power, 0.01, 10
    )


def test_the_statements_about_power_follow_from_the_spread_of_the_differences():
    effect = _found_with_power(0.8, level=0.05 / 5, seeds=10)  # the first step of Holm's method
    spread = {
        name: statistics.stdev(comparison.differences)
        for name, comparison in tables.primary(recorded.rows_of(recorded.read_all())).items()
    }
    others, explained = [spread[f"H{number}"] for number in range(1, 5)], spread["H5"]
    text = page.PAGE.read_text(encoding="utf-8")
    assert (
        f"standard deviations of {min(others):.0f} to {max(others):.0f} points, so H1 to H4 had a "
        f"power of 80% for true differences of {effect * min(others):.0f} to "
        f"{effect * max(others):.0f} points"
    ) in text
    assert (
        f"the standard deviation was {explained:.0f} points, so only a difference of "
        f"{effect * explained:.0f} points"
    ) in text
    assert (
        f"about {effect:.1f} standard deviations, or {effect * 6:.0f} to {effect * 10:.0f} points"
    ) in text
