"""The page as a file: what it holds, and what a blind page does not tell."""

import hashlib
import json
import re
from html.parser import HTMLParser
from importlib import resources

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.storage import files

from .conftest import row, write_run


class _Scripts(HTMLParser):
    """Content of all script elements, by id, as a browser reads them."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.addresses, self._inside = {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        if tag == "script":
            self._inside = values.get("id", "")
            self.scripts[self._inside] = ""

    def handle_endtag(self, tag):
        if tag == "script":
            self._inside = None

    def handle_data(self, text):
        if self._inside is not None:
            self.scripts[self._inside] += text


def data_of(page):
    return json.loads(_Scripts(page.read_text()).scripts["data"])


def test_the_page_is_one_file_that_loads_nothing_and_keeps_every_text(two_runs, make_page):
    page = make_page(*two_runs)
    parsed = _Scripts(page.read_text())
    assert [*parsed.scripts] == ["data", ""] and parsed.addresses == []
    assert not re.search(r"url\(|@import|https?://", page.read_text())
    data = data_of(page)
    assert data["samples"][1] == ["s-1", 0, "numbers", "Is 1 </script> odd?", ["no", "yes"], 1]
    (item,) = (item for item in data["items"] if item[0] == 3 and item[1] == 0)
    text = "cot 3 by one: <b>it</b> is so."
    assert item[2] == [text, 9, [1], 9, "eos"], "it fails the second gate"
    assert len(data["items"]) == 10 + 9, "samples of either run, and the mistakes of one"


def test_no_text_can_become_markup():
    folder = resources.files("teacherlm_jax.report.reading")
    script = "".join(file.read_text() for file in folder.iterdir() if file.name.endswith(".js"))
    assert "textContent" in script
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert name not in script


def test_a_blind_page_does_not_say_who_wrote_what(two_runs, make_page):
    page = make_page(*two_runs, arguments=("--blind",))
    data = data_of(page)
    assert data["names"] == [] and data["blind"]
    assert data["notes"] == ["samples with explanations of one teacher only: 2"]
    written = page.read_text()
    for name in (str(two_runs[0]), "stage2", "checkpoints"):
        assert name not in written
    firsts = [item[2][0].split()[3] for item in data["items"] if item[1] == 0 and all(item[2:])]
    assert {"one:", "two:"} == set(firsts), "the sides are shuffled"
    assert all(len(side) == 3 for item in data["items"] for side in item[2:] if side)


def test_the_result_has_the_digest_under_which_ratings_are_kept(two_runs, make_page):
    page = make_page(*two_runs)
    result = files.read_json(page.parent / "result.json")
    text = _Scripts(page.read_text()).scripts["data"]
    text = text.replace("\\u003c", "<")
    assert result["digest"] == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    assert result["digest"] in page.read_text()
    assert (result["samples"], result["explanations"]) == (10, 27)
    assert result["rows"] == {str(two_runs[0]): 9, str(two_runs[1]): 9}


def test_the_same_runs_give_the_same_page_and_another_seed_another_one(two_runs, make_page):
    first = make_page(*two_runs, arguments=("--blind",)).read_bytes()
    assert make_page(*two_runs, arguments=("--blind",)).read_bytes() == first
    other = make_page(
        *two_runs, output=two_runs[0] / "o", arguments=("--blind", "--config.seed=1")
    ).read_bytes()
    assert other != first


def test_a_page_is_not_replaced_by_that_of_other_explanations(
    two_runs, make_page, tmp_path, capsys
):
    page = make_page(*two_runs)
    kept = page.read_bytes()
    third = write_run(tmp_path / "three", [row(n, "three") for n in range(9)])
    assert main.main(["report", "--samples", str(two_runs[0]), str(third)]) != 0
    message = f"config.output={page.parent}: has a page of other explanations or settings"
    assert message in capsys.readouterr().err
    assert page.read_bytes() == kept
    make_page(two_runs[0], third, output=tmp_path / "other")


def test_a_single_run_has_one_side(two_runs, make_page):
    data = data_of(make_page(two_runs[0]))
    assert data["sides"] == 1 and data["names"] == [str(two_runs[0])]
    assert all(len(item) == 3 for item in data["items"])


def test_rows_that_are_no_samples_are_refused_and_counted(tmp_path, make_page):
    folder = write_run(tmp_path / "run", [row(1, "one"), {"id": "x"}])
    page = make_page(folder)
    assert len(data_of(page)["samples"]) == 1
    assert "no question" in (page.parent / "refused.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--samples"], "--samples: no value; write --samples=VALUE"),
        (["--samples", "nowhere"], "config.samples: nowhere: no such file or folder"),
        (["--samples=a,b,c"], "config.samples: 3 paths, expected one or two"),
        (["--samples", "a", "--data=b"], "config.data: b, but --samples=a is set too"),
        (["--data=.", "--blind"], "config.blind: works only with --samples; leave it out"),
        (["--samples", "*.jsonl"], "config.output: empty; name the report's folder"),
        (["--ratings=.", "--config.limit=9"], "config.limit: works only with --samples"),
        (["--samples=.", "--config.select=."], "config.select: works only with --ratings"),
    ],
)
def test_an_impossible_command_is_refused(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main.main(["report", *words]) == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
