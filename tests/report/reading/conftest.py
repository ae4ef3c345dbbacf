"""Annotation runs of two teachers, ratings of their explanations, and pages in a browser."""

import pytest

from teacherlm_jax.cli import main
from teacherlm_jax.report.reading.joined_samples import RatedTeacher
from teacherlm_jax.report.reading.page_key import PageKey
from teacherlm_jax.storage import files


def row(number, teacher, author="teacher", kinds=("cot",), step=0, source="creak", **more):
    """Return an annotated sample as `annotate` writes it."""
    texts = {kind: f"{kind} {number} by {teacher}: <b>it</b> is so." for kind in kinds}
    annotations = {
        kind: {
            "author": author,
            "source": source,
            "teacher": f"runs/stage2/checkpoints/{step}",
            "step": step,
            "model_digest": f"sha256:{step}",
            "new_tokens": 9,
            "finish_reason": "eos",
            "gates": {"finished": True, "not_copied": number != 3},
        }
        for kind in kinds
    }
    return {
        "id": f"s-{number}",
        "question": f"Is {number} </script> odd?",
        "answer": "(B)" if number % 2 else "(A)",
        "options": ["no", "yes"],
        "subject": "numbers",
        "source": source,
        "explanations": {kind: {author: text} for kind, text in texts.items()},
        "annotations": annotations,
        **more,
    }


def write_run(folder, rows):
    files.write_jsonl(folder / "samples/part-00000.jsonl", list(rows))
    return folder


@pytest.fixture
def two_runs(tmp_path):
    """Return the folders of two runs: sample 0 is only in the first, sample 9 in the second."""
    first = (row(n, "one", step=300, kinds=("cot", "mistake")) for n in range(9))
    second = (row(n, "two", step=600) for n in range(1, 10))
    return write_run(tmp_path / "one", first), write_run(tmp_path / "two", second)


@pytest.fixture
def make_page():
    """Return a function that runs `teacherlm report --samples` and returns the page."""

    def make(*paths, output=None, arguments=()):
        folder = output or paths[0].with_name(f"{paths[0].name}.reading")
        place = (f"--config.output={output}",) if output else ()
        words = ("report", "--samples", *map(str, paths), *place, *arguments)
        assert main.main(list(words)) == 0
        return folder / "reading.html"

    return make


@pytest.fixture
def rate(tmp_path):
    """Return a function that writes a file of ratings as the page does.

    `lines` are (sample, kind, left, right, preference); `teachers` are names with their step.
    """

    def write(name, lines, teachers=(("one", 300), ("two", 600)), blind=False, seed=0, time="12"):
        known = tuple(
            RatedTeacher(teacher, teacher, "teacher", {
                kind: [{"teacher": teacher, "step": step, "model_digest": f"sha256:{step}"}]
                for kind in ("cot", "fundamental", "mistake")
            })
            for teacher, step in teachers
        )  # fmt: skip
        key = PageKey(known, blind, seed).encoded()
        first = {"teacherlm_ratings": 1, "page": "sha256:0", "reader": name, "key": key}
        rows = [
            {"id": id, "source": "creak", "kind": kind, "left": left, "right": right,
             "preference": preference, "time": f"2026-01-02T{time}:00:00.000Z"}
            for id, kind, left, right, preference in lines
        ]  # fmt: skip
        path = tmp_path / f"{name}.jsonl"
        files.write_jsonl(path, [first, *rows])
        return path

    return write


@pytest.fixture
def open_page(browser):
    """Return a function that opens a page file and waits until it is ready."""
    contexts = []

    def opened(path, width=1200, height=800, context=None, script="", **settings):
        if context is None:
            context = browser.new_context(viewport={"width": width, "height": height}, **settings)
            contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda line: page.problems.append(line.text))
        page.on("request", lambda request: page.problems.append(request.url)
                if request.url != f"file://{path}" and not request.url.startswith("blob:")
                else None)  # fmt: skip
        if script:
            page.add_init_script(script)
        page.goto(f"file://{path}")
        page.wait_for_selector("#progress:has-text('rated')")
        return page

    yield opened
    for context in contexts:
        context.close()
