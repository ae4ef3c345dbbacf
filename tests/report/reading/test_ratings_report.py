"""`teacherlm report --ratings`: win rates, mean ratings, agreement, and refusals."""

import json
import logging
import re

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.config import ReportConfig
from teacherlm_jax.report.reading import page_key
from teacherlm_jax.report.reading.ratings_report import report_ratings
from teacherlm_jax.runs.run import Run
from teacherlm_jax.runs.run_place import RunPlace
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath

ANNA = [(f"s-{n}", "cot", 4, 2, "left" if n < 8 else "tie") for n in range(10)]
BEN = [(f"s-{n}", "cot", 4, 3, "left" if n < 7 else "right") for n in range(8)]


def report(*paths, arguments=()):
    assert main.main(["report", "--ratings", *map(str, paths), *arguments]) == 0
    return files.read_json(paths[0].with_name(f"{paths[0].name}.report") / "result.json")


def refusal(capsys, *words):
    assert main.main(["report", "--ratings", *map(str, words)]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    return shown


def test_win_rates_mean_ratings_and_agreement_of_two_readers(rate, capsys):
    anna = rate("anna", ANNA)
    result = report(anna, rate("ben", BEN))
    assert result["readers"] == {"anna": 10, "ben": 8}
    (win,) = result["win_rates"]
    assert (win["first"], win["second"]) == ("one", "two")
    assert (win["wins"], win["ties"], win["losses"], win["samples"]) == (15, 2, 1, 10)
    assert win["share"] == 16 / 18
    assert [(own["teacher"], own["ratings"]) for own in result["mean_ratings"]] == [
        ("one", 18),
        ("two", 18),
    ]
    assert result["mean_ratings"][1]["mean"] == (10 * 2 + 8 * 3) / 18
    assert result["agreement"]["preference"]["units"] == 8
    assert result["agreement"]["rating"]["units"] == 16
    assert result["left_preferred"] == 15 / 16
    text = capsys.readouterr().out
    assert "18 judgements on 10 samples by 2 readers (anna 10, ben 8)." in text
    assert re.search(r"teachers, kind +win rate +95% CI +samples +wins", text)
    assert re.search(r"one against two, chain of thought +88\.9 +\S+ to \S+ +10 +15 +2 +1\n", text)
    assert re.search(r"one, chain of thought +4\.00 +– +18\n", text) and "alpha" in text
    page = (anna.with_name("anna.jsonl.report") / "report.html").read_text()
    assert "one against two" in page and "Krippendorff" in page


def data_of(page):
    """Return what a page shows."""
    text = page.read_text().partition('id="data">')[2].partition("</script>")[0]
    return json.loads(text)


def of_page(path, data):
    """Give a file of ratings the key of a page, and return its path."""
    first, *lines = path.read_text().splitlines()
    first = json.loads(first) | {"key": data["key"]}
    path.write_text("\n".join([json.dumps(first), *lines]))
    return path


def test_sides_of_a_blind_page_are_resolved_by_its_seed(rate, two_runs, make_page):
    make_page(*two_runs, arguments=("--blind", "--config.seed=5"))
    data = data_of(two_runs[0].with_name("one.reading") / "reading.html")
    rows = []
    for index, kind, left, right in data["items"]:
        if left and right:
            better = "left" if " two:" in left[0] else "right"
            rows.append((data["samples"][index][0], data["kinds"][kind], None, None, better))
    path = of_page(rate("anna", rows), data)
    (win,) = report(path)["win_rates"]
    assert win["first"] == str(two_runs[1]) and (win["wins"], win["losses"]) == (8, 0)


def test_a_later_judgement_of_a_reader_replaces_an_earlier_one(rate, capsys):
    early = rate("early", [("s-1", "cot", 1, 5, "right"), ("s-2", "cot", 1, None, None)], time="10")
    late = rate("late", [("s-1", "cot", 5, 1, "left"), ("s-2", "cot", None, None, None)], time="11")
    for path in (early, late):
        path.write_text(path.read_text().replace(f'"reader": "{path.stem}"', '"reader": "anna"'))
    for order in ((early, late), (late, early)):
        result = report(*order)
        assert result["judgements"] == 1, "an empty judgement takes the earlier one back"
        assert result["win_rates"][0]["first"] == "one"
    assert "replaced by later ones: 2" in capsys.readouterr().out


def test_files_of_several_readers_may_be_joined_and_named_by_a_glob(rate, tmp_path):
    anna, ben = rate("anna", ANNA), rate("ben", BEN)
    both = tmp_path / "both/all.jsonl"
    both.parent.mkdir()
    both.write_text(anna.read_text() + ben.read_text())
    assert report(both)["readers"] == {"anna": 10, "ben": 8}
    words = ["report", "--ratings", f"{tmp_path}/*.jsonl", f"--config.output={tmp_path}/out"]
    assert main.main(words) == 0
    assert files.read_json(tmp_path / "out/result.json")["readers"] == {"anna": 10, "ben": 8}


def test_ratings_of_one_teacher_have_means_only(rate):
    path = rate("anna", [("s-1", "cot", 4, None, None)], teachers=(("one", 300),))
    result = report(path)
    assert result["win_rates"] == [] and result["left_preferred"] is None
    assert result["mean_ratings"][0]["mean"] == 4
    assert result["agreement"]["rating"] == {"units": 0, "alpha": None, "equal": None}


def test_ratings_of_pages_with_one_teacher_each_are_combined(rate, two_runs, make_page):
    paths = [
        of_page(rate(run.name, [("s-1", "cot", mark, None, None)]), data_of(make_page(run)))
        for run, mark in zip(two_runs, (4, 2), strict=True)
    ]
    means = {own["teacher"]: own["mean"] for own in report(*paths)["mean_ratings"]}
    assert means == {str(two_runs[0]): 4, str(two_runs[1]): 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": 6}, "anna.jsonl:2: left is 6, expected a rating from 1 to 5"),
        ({"left": True}, "anna.jsonl:2: left is True, expected"),
        ({"right": "4"}, "anna.jsonl:2: right is '4', expected"),
        ({"preference": "A"}, "anna.jsonl:2: preference is 'A', expected left, right or tie"),
        ({"kind": "joke"}, "anna.jsonl:2: kind is 'joke', expected one of cot, fundamental"),
        ({"id": 7}, "anna.jsonl:2: id is 7, expected text"),
    ],
)
def test_a_line_that_is_no_rating_is_refused_with_its_place(rate, capsys, change, message):
    path = rate("anna", [("s-1", "cot", 4, 4, "tie")])
    first, line = path.read_text().splitlines()
    path.write_text(f"{first}\n{json.dumps(json.loads(line) | change)}\n")
    assert message in refusal(capsys, path)


def test_files_without_ratings_are_refused(rate, tmp_path, capsys):
    files.write_jsonl(tmp_path / "x.jsonl", [{"id": "s-1"}])
    assert "not a file of ratings, expected a first line" in refusal(capsys, tmp_path / "x.jsonl")
    (tmp_path / "y.jsonl").write_text("{")
    assert "y.jsonl:1: " in refusal(capsys, tmp_path / "y.jsonl")
    empty = rate("empty", [("s-1", "cot", None, None, None)])
    assert "no ratings; rate explanations on the page" in refusal(capsys, empty)
    future = rate("future", ANNA)
    future.write_text(
        future.read_text().replace('"teacherlm_ratings": 1', '"teacherlm_ratings": 2')
    )
    assert "ratings of format 2, expected 1" in refusal(capsys, future)


def test_one_name_for_two_models_is_refused(rate, capsys):
    anna, ben = rate("anna", ANNA), rate("ben", BEN, teachers=(("one", 900), ("two", 600)))
    assert "one is not the teacher of that name in the other ratings" in refusal(capsys, anna, ben)


def test_the_order_of_a_teachers_models_does_not_matter(rate):
    paths = rate("anna", ANNA), rate("ben", BEN)
    models = [{"teacher": "t", "step": n, "model_digest": f"sha256:{n}"} for n in range(2)]
    for path, ordered in zip(paths, (models, models[::-1]), strict=True):
        first, *lines = path.read_text().splitlines()
        key = page_key.decoded(json.loads(first)["key"], "")
        for teacher in key.teachers:
            teacher.models["cot"] = ordered
        first = json.loads(first) | {"key": key.encoded()}
        path.write_text("\n".join([json.dumps(first), *lines]))
    assert report(*paths)["readers"] == {"anna": 10, "ben": 8}


def test_the_page_is_named_by_the_address_of_the_run_and_not_by_its_copy(rate, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    place = RunPlace(StoragePath(tmp_path / "address"), copy)
    config = ReportConfig(ratings=(str(rate("anna", ANNA)),))
    result = report_ratings(config, Run(place, logging.getLogger("test")))
    assert (copy / "report.html").exists()
    assert result["page"] == str(tmp_path / "address" / "report.html")
