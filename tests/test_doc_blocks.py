"""The commands and programs on the pages: each is run or checked, or says why not.

Shell blocks: `teacherlm` commands are validated with the real configs and those of the pages, the
launchers are run with --dry_run, and of other commands the files and targets that they name must
exist. Python blocks are run. A block or line that cannot be tested has the comment
`# not tested: REASON`, which readers see. Blocks in other languages, such as output in `text`,
have no commands, except those in NOT_SHELL.
"""

import dataclasses
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from teacherlm_jax import config
from teacherlm_jax.cli import main
from teacherlm_jax.config import fields
from teacherlm_jax.launching import command_check, gke, local, submit, tpu_pod
from tests import doc_blocks
from tests.doc_blocks import NOT_TESTED, ROOT

BLOCKS = [block for name in doc_blocks.pages() for block in doc_blocks.blocks(name)]
WRONG = "lerning_rate"  # an example of a wrong key, which has a test of its own
SHELL = [
    block
    for block in BLOCKS
    if block.language in doc_blocks.SHELL and block.tested and WRONG not in block.text
]
PYTHON = [block for block in BLOCKS if block.language == "python" and block.tested]
CONFIGS = {block.file: block for block in PYTHON if "def get_config" in block.text and block.file}
# Other tests run these blocks, after making what they read.
RUN_ELSEWHERE = {
    "runs/quickstart/": "tests/pipelines/test_quickstart.py",
    "runs/mine/": "tests/pipelines/test_data_page.py",
}
# Lines that look like commands in blocks of other languages, and why no test here reads them.
DRY_RUN = "docs/reference/paper-dry-run.md:"  # tests/pipelines/test_paper_pipeline.py prints it
IN_IPYTHON = "compared with the cell of the notebooks by tests/test_colab.py"
NOT_SHELL = {
    "%pip install --quiet --no-deps git+https://github.com/OWNER/teacherlm_jax": IN_IPYTHON,
    "%pip install --quiet {requirements}": IN_IPYTHON,
    "teacherlm COMMAND --config=FILE.py[:VARIANT] [--config.KEY=VALUE ...]": "form of all commands",
    "teacherlm 0.1.0 on tpu-vm-0, 2026-11-28 16:40:12 +0000": "output of doctor",
    "teacherlm status runs/student --watch": "output of status",
}
ALWAYS_THERE = {".", "awk", "cd", "export", "head", "mkdir", "mv"}
WRITTEN_BEFORE = (  # by earlier commands of a page; a command that reads them is refused without
    *("runs/star_mine/round-3/kept.jsonl", "runs/mine/manifest.json", "anna.jsonl", "ben.jsonl"),
    *("runs/annotate_300/result.json", "runs/annotate_600/result.json"),
)
LAUNCHERS = {
    f"launch/{room.__name__.split('.')[-1]}.py": room for room in (gke, local, submit, tpu_pod)
}
PIP = ("pip", "install", "sync", "venv")  # words of pip and uv
WITH_AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@example.org")
TRAIN_MINE = """
from teacherlm_jax import config


def get_config(variant=""):
    return config.TrainConfig(output="runs/mine", data="data/mine")
"""
MINE = """
import data_mine
import evaluate_mine
import train_mine

KINDS = {"data": data_mine, "student": train_mine}


def get_config(variant=""):
    return KINDS.get(variant, evaluate_mine).get_config()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the pages' commands find the files that the pages name."""
    place = tmp_path_factory.mktemp("pages")
    for name in ("configs", "launch"):
        shutil.copytree(ROOT / name, place / name)
    for name, block in CONFIGS.items():
        (place / name).write_text(block.text, encoding="utf-8")
    sweep = next(block.text for block in PYTHON if block.text.startswith("def sweep"))
    (place / "swept.py").write_text(TRAIN_MINE + sweep, encoding="utf-8")
    (place / "train_mine.py").write_text(TRAIN_MINE, encoding="utf-8")
    (place / "mine.py").write_text(MINE, encoding="utf-8")
    for name in WRITTEN_BEFORE:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("{}\n")
    for words in (
        ["init", "--quiet"],
        ["add", "."],
        [*WITH_AUTHOR, "commit", "--quiet", "-m", "all"],
    ):
        subprocess.run(["git", *words], cwd=place, check=True)  # launchers send a commit
    return place


def test_every_name_of_a_config_file_on_the_pages_is_unique():
    named = [block.file for block in PYTHON if "def get_config" in block.text and block.file]
    assert sorted(named) == sorted(CONFIGS)


def test_commands_are_in_shell_blocks_where_they_are_tested():
    hidden = {
        line: block.place
        for block in BLOCKS
        if not block.place.startswith(DRY_RUN)
        for line in block.hidden_commands()
    }
    unlisted = {line: place for line, place in hidden.items() if line not in NOT_SHELL}
    assert not unlisted, "write the block as ```bash or ```console, or list its line with a reason"
    assert not NOT_SHELL.keys() - hidden, "not on a page any more"


@pytest.mark.parametrize(
    "line",
    [
        *("curl -O https://example.org/a", "sbatch job.sh", "gcloud storage ls", "make", "  make;"),
        *(
            "TEACHERLM_DATA=x teacherlm train",
            "A=1 B='2 3' python a.py",
            "$ ls",
            "!ls",
            "%pip list",
        ),
        *("for x in a b; do teacherlm train --config=$x.py; done", ".venv/bin/pre-commit install"),
    ],
)
def test_a_command_in_a_block_of_another_language_is_found(line):
    block = doc_blocks.Block("a.md:1", "text", f"output\n{line}\n")
    assert block.hidden_commands() == [line.strip()]


@pytest.mark.parametrize(
    "line", ["makes 3 rows", "teacherlm: error", "a=b c", "curled", "the header", "for all of them"]
)
def test_output_is_no_command(line):
    assert not doc_blocks.Block("a.md:1", "text", line).hidden_commands()


def test_all_programs_of_the_pages_are_known_in_blocks_of_other_languages():
    everywhere = (
        dataclasses.replace(block, text=block.text.replace(NOT_TESTED, "# "))
        for block in BLOCKS
        if block.language in doc_blocks.SHELL
    )
    programs = {words[0].rpartition("/")[2] for one in everywhere for words in one.commands()}
    assert programs - {"."} <= {*doc_blocks.PROGRAMS}


def test_every_fence_of_a_page_is_read():
    for name, path in doc_blocks.pages().items():
        fences = re.findall(r"^\s*(?:```|~~~)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(list(doc_blocks.blocks(name))), name


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_every_command_of_a_page_is_valid_or_says_why_it_is_not_tested(block, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("DATA", "data")
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    monkeypatch.setattr(command_check, "require_valid", _require_valid)
    for words in block.commands():
        _check(words)


def _check(words):
    """Fail unless a command is known and what it names exists."""
    program, *rest = words
    program = re.sub(r"^(environment|\.venv[\w-]*)/bin/", "", program)
    if program == "teacherlm":
        _validate(rest)
    elif program == "make":
        targets = re.findall(r"^([\w%-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert any(_matches(rest[0], target) for target in targets), f"no target {rest[0]}"
    elif program in ("pip", "uv"):
        _check_packages([word for word in rest if word not in PIP])
    elif program == "docker":
        _check_container(rest)
    elif program in ("python", "python3") and rest[0] in LAUNCHERS:
        dry = [] if "--dry_run" in rest else ["--dry_run"]
        assert LAUNCHERS[rest[0]].main([rest[1], *dry, *rest[2:]]) == 0
    elif program in ("python", "python3"):
        _check_python(rest)
    elif words[0].startswith(".venv/bin/"):
        _check_packages([program])
    else:
        assert program in ALWAYS_THERE, (
            f"{program!r}: this test cannot check the command; end its line, or begin its block, "
            f"with {NOT_TESTED!r} and the reason"
        )


def _require_valid(words, environment, folder, devices=0):
    _validate(words, devices)


def _validate(words, devices=0):
    words = [word.replace("$DATA", "data") for word in words]
    # Without `steps`, this config counts the rows of prepared data.
    words = [f"{word},steps=9" if "=configs/student.py" in word else word for word in words]
    swept = any(word.startswith("--sweep") for word in words)
    words = [word.replace("=train_mine.py", "=swept.py") if swept else word for word in words]
    option = f"--validate={devices}" if devices else "--validate"
    assert main.main([*words, option]) == 0, words


def _matches(name, target):
    return re.fullmatch(target.replace("%", r"[\w-]+"), name)


def _check_packages(words):
    """Fail unless files, extras and packages to install are those of the project."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pinned = (ROOT / "requirements-dev.txt").read_text("utf-8")
    for option, word in zip(["", *words], words, strict=False):
        if option == "--python" or word.endswith(".whl"):
            continue
        if option in ("-r", "--requirement", "-c", "--constraint") or word.endswith(".txt"):
            assert (ROOT / word).is_file(), f"no file {word}"
        elif extras := re.fullmatch(r"\.\[([\w,]+)\]", word):
            assert set(extras[1].split(",")) <= set(settings["optional-dependencies"]), word
        elif word != "." and not word.startswith("-"):
            name = re.match(r"[\w-]+", word)[0]
            assert re.search(rf"^{name}==", pinned, re.MULTILINE), (
                f"{word!r} is not pinned; end the line with {NOT_TESTED!r} and the reason"
            )


def _check_container(rest):
    """Fail unless the Dockerfile has an image to build; validate the command of one to run."""
    if rest[0] == "build":
        target = rest[rest.index("--target") + 1]
        assert re.search(rf" AS {target}$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    else:
        images = [index for index, word in enumerate(rest) if word.startswith("teacherlm:")]
        _validate(rest[images[0] + 1 :])


def _check_python(rest):
    """Fail unless a module or file that Python runs exists; run a program that is given in full."""
    if rest[0] == "-c":
        done = subprocess.run([sys.executable, "-c", rest[1]], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
    elif rest[:2] == ["-m", "pytest"]:
        for word in rest[2:]:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word
    elif rest[0] == "-m":
        assert importlib.util.find_spec(rest[1]), f"no module {rest[1]}"
    else:
        pytest.fail(f"{rest[0]}: end the line with {NOT_TESTED!r} and the reason")


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.place)
def test_every_program_of_a_page_runs_or_says_why_it_is_not_tested(block, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for read, test in RUN_ELSEWHERE.items():
        if f'"{read}' in block.text and "def get_config" not in block.text:
            assert f'"{block.place.partition(":")[0]}"' in (ROOT / test).read_text("utf-8")
            return
    scope = {"config": config}
    if block.text.startswith("config."):
        eval(block.text, scope)
        return
    exec(compile(block.text, block.place, "exec"), scope)
    for variant in _variants(block.file) if "get_config" in scope else ():
        fields.check(scope["get_config"](variant))


def _variants(file):
    """Return the variants of a page's config file that the pages' commands name."""
    named = re.findall(rf"--config={file}(?::([\w/]+))?", "\n".join(block.text for block in SHELL))
    return set(named) or {""}


def test_the_error_of_an_unknown_key_is_the_one_on_the_page(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (block,) = [block for block in BLOCKS if WRONG in block.text]
    command, expected = block.text.rstrip().split("\n")
    assert main.main(command.removeprefix("$ teacherlm ").split()) == 2
    assert capsys.readouterr().err.rstrip() == expected
