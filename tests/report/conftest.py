"""Run folders with invented figures, as the verbs write them."""

import math

import pytest

from teacherlm_jax.storage import files
from tests.report.answered import CMF, TEXT, answer, change
from tests.report.built_report import build

KINDS = {"cot": (0.962, 24.1), "fundamental": (0.991, 31.7), "mistake": (0.874, 22.0)}
ACCURACY = {"stage1": 0.41, "stage2": 0.78, "student_text": 0.55, "student_CMF": 0.84}


def _write(folder, verb, config, result=None):
    files.write_json(folder / "config.json", {"verb": verb, "config": config})
    versions = {"commit": "0123456789abcdef", "packages": {"jax": "0.10.2"}}
    files.write_json(folder / "versions.json", versions)
    if result is not None:
        files.write_json(folder / "result.json", result)


def _training(root, name, start, finished=True):
    result = {
        "step": 240,
        "tokens": 983_040,
        "seconds": 120.0,
        "loss": 0.412,
        "accuracy": 0.871,
        "steps": 240,
        "tokens_per_second": 8192.0,
        "parameters": 870_400,
        "checkpoint": str(root / name / "checkpoints/240"),
    }
    data = root / ("student_data" if name.startswith("student") else "teacher_data") / name
    config = {"init_from": start, "data": str(data), "output": str(root / name)}
    _write(root / name, "train", config, result if finished else None)
    rows = [_metrics(step) for step in range(20, 241 if finished else 101, 20)]
    files.write_jsonl(root / name / "metrics.jsonl", rows)
    (root / name / "log.txt").write_text("started\nstep 100/240  loss 1.055\n")


def _metrics(step):
    return {
        "step": step,
        "loss": 4 * math.exp(-step / 60) + 0.3,
        "accuracy": 0.9 - 0.8 * math.exp(-step / 60),
        "loss_tokens": 410.5,
        "grad_norm": 1.5,
        "learning_rate": 1e-3,
        "tokens_per_second": 8192.0,
    }


def _preparation(root, name, source, mixture=""):
    config = {"output": str(root / name), "root": str(source), "sources": [{"path": "*.jsonl"}]}
    mixtures = {mixture: {}} if mixture else {}
    result = {"mixtures": mixtures, "vocabulary_size": 600, "refused": {}}
    _write(root / name, "prepare", config, result)
    for mixture in mixtures:
        files.write_json(root / name / mixture / "manifest.json", _manifest(mixture))


def _manifest(mixture):
    explained = {kind: {"teacher": {"count": 900, "mean": 24.13}} for kind in KINDS}
    asked = {"question": {"count": 900, "mean": 41.52}, "answer": {"count": 900, "mean": 1.0}}
    return {
        "mixture": mixture,
        "inputs": {
            "mixture": {"author": "teacher"},
            "vocabulary": {"digest": "sha256:0"},
            "max_tokens": 512,
        },
        "length": 512,
        "rows": 160,
        "texts": 900,
        "tokens": 81_000,
        "tasks": {"explained/CMF": {"texts": 900, "tokens": 81_000}},
        "drops": {"explained/CMF": {"no cot by teacher": 70, "too long": 30}},
        "statistics": {
            "tokens_by_field": asked | explained,
            "lengths": {"edges": [1, 65, 129, 193, 257], "counts": [300, 500, 100, 0]},
        },
        "shards": [{"name": "a", "digest": "sha256:0", "bytes": 9}],
    }


def _measured(right, rows, majority, subjects=("",)):
    by_subject = {subject: {"rows": rows, "accuracy": right} for subject in subjects}
    return {
        "rows": rows,
        "accuracy": right,
        "interval": [right - 0.034, right + 0.03],
        "majority": majority,
        "macro_accuracy": right + (0.02 if len(subjects) > 1 else 0),
        "macro_interval": [right - 0.01, right + 0.05],
        "by_subject": by_subject,
        "truncated": 0,
        "refused": 3 if len(subjects) > 1 else 0,
        "seconds": 4.2,
    }


def _annotation(root):
    kinds = {
        kind: {
            "teacher": str(root / f"stage3_{kind}"),
            "step": 60,
            "model_digest": "sha256:0",
            "count": 1000,
            "gates": {"finished": 998, "not_empty": 1000, "synthetic": round(1000 * share)},
            "passed_all_gates": round(1000 * share),
            "mean_tokens": tokens,
            "finish_reasons": {"eos": 998, "length": 2},
        }
        for kind, (share, tokens) in KINDS.items()
    }
    result = {"rows": 1000, "refused": 1, "kinds": kinds, "tokens_per_second": 900.0}
    _write(root / "annotate", "annotate", {"output": str(root / "annotate")}, result)
    samples = [_sample(number) for number in range(5)]
    files.write_jsonl(root / "annotate/samples/part-00000-of-00001.jsonl", samples)


def _sample(number):
    verdicts = {"finished": True, "not_empty": True, "synthetic": number != 4}
    texts = {
        "cot": f"Mia has {number + 2} pears and buys 3 more. {number + 2} + 3 = {number + 5}.",
        "fundamental": "Buying adds to what one has, so the two amounts are added.",
        "mistake": "One may take 3 away, <as if> Mia had sold | lost them.",
    }
    return {
        "id": f"unlabelled-{number}",
        "question": f"Mia has {number + 2} pears. She buys 3 pears. How many pears has she now?",
        "answer": "(B)",
        "options": [str(number - 1), str(number + 5), str(number + 6)],
        "subject": "",
        "source": "synthetic/quantities",
        "explanations": {kind: {"teacher": text} for kind, text in texts.items()},
        "annotations": {kind: {"author": "teacher", "gates": verdicts} for kind in texts},
    }


@pytest.fixture
def runs(tmp_path):
    """Return a folder of runs like that of the quickstart: one is unfinished, one unreadable."""
    root = tmp_path / "runs"
    _training(root, "stage1", "")
    _training(root, "stage2", str(root / "stage1"))
    for kind in KINDS:
        _training(root, f"stage3_{kind}", str(root / "stage2"))
    _training(root, "student_text", "")
    _training(root, "student_CMF", "")
    _training(root, "student_F", "", finished=False)
    _annotation(root)
    _preparation(root, "teacher_data", root / "samples")
    _preparation(root, "student_data", root / "annotate" / "samples", "student_CMF")
    for name, right in ACCURACY.items():
        benchmarks = {"generated": _measured(right, 800, 0.27)}
        if name == "stage2":
            benchmarks["mmlu"] = _measured(0.31, 14042, 0.269, ("algebra", "law"))
            benchmarks["ecqa"] = _measured(0.52, 2194, 0.216)
        result = {"benchmarks": benchmarks, "model": str(root / name), "step": 240, "digest": "d"}
        formats = {"generated": "sample"}
        named = [{"name": key, "format": formats.get(key, key)} for key in benchmarks]
        _write(root / f"evaluate_{name}", "evaluate", {"benchmarks": named}, result)
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text('{"verb": ')
    _write(root, "quickstart", {})  # contains the report and is still running
    return root


@pytest.fixture
def students(runs):
    """The runs of a quickstart: its students have answered 200 questions, no one else any."""
    for name, marks, step in (("student_CMF", CMF, 1500), ("student_text", TEXT, 500)):
        answer(runs / f"evaluate_{name}", marks)
        evaluated = runs / f"evaluate_{name}" / "result.json"
        change(evaluated, digest=f"sha256:{name}", step=step)
    change(runs / "student_CMF" / "result.json", tokens=2_752_512, step=1500, steps=1500)
    change(runs / "student_text" / "result.json", step=500, steps=500)
    files.write_json(runs / "student_CMF/summary.json", {"model_flops_per_token": 7e6})
    return runs


@pytest.fixture
def built(runs):
    """Folder and result of the report on the runs."""
    folder = runs / "report"
    files.write_json(folder / "config.json", {"verb": "report", "config": {}})
    return build(runs, folder)


# For one file of tests only: while Playwright runs, no other event loop can be started here.
@pytest.fixture(scope="module")
def browser():
    """Return headless Chromium; skip, and say why, if there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from benchmarks import browsers  # needs playwright

    path = browsers.program()
    if path is None:
        pytest.skip(f"no browser: {browsers.MISSING}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Return a function that opens a page and fails the test if a script of it fails."""
    contexts, errors, requests = [], [], []

    def open_page(source, size=(1200, 900), scheme="light", **options):
        path = tmp_path / "page.html"
        path.write_text(source, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(error))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
    assert [url for url in requests if not url.startswith(("file:", "blob:"))] == []
