"""Code blocks of README.md and the pages in docs/, and the commands in them."""

import dataclasses
import itertools
import re
import shlex
import string
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOT_TESTED = "# not tested: "  # begins a block, or ends a line, and gives the reason
SHELL = ("bash", "console", "sh", "shell")
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LOOP = re.compile(r"for (\w+) in (.+)")
_BETWEEN = ("|", "||", "&&", ";")  # commands
_SETTING = re.compile(r"\w+=")  # of a variable, before a command
PROGRAMS = (  # of the commands on the pages
    *("awk", "bash", "cd", "curl", "docker", "export", "gcloud", "git", "gsutil", "head", "hf"),
    *("jupyter", "kubectl", "make", "mkdir", "mv", "papermill", "pip", "pre-commit", "pytest"),
    *("python", "python3", "sbatch", "sky", "source", "squeue", "srun", "ssh", "sudo", "teacherlm"),
    *("tensorboard", "trackio", "uv", "vllm", "wandb"),
)
_COMMAND = re.compile(
    r"\s*([!%$]|for \w+ in |"
    r"""(\w+=("[^"]*"|'[^']*'|\S*)\s+)*"""  # variables
    rf"(\S*/)?({'|'.join(PROGRAMS)})(\s|;|$))"
)


def pages():
    """Return the paths of all pages for users and contributors, by their name in the repository."""
    written = (path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
    paths = (ROOT / "README.md", *sorted(ROOT.glob("C*.md")), *sorted(written))
    return {str(path.relative_to(ROOT)): path for path in paths}


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block: its place, as in `docs/a.md:12`, its language and its text."""

    place: str
    language: str
    text: str

    @property
    def tested(self):
        """False if the first line says that no test runs the block."""
        return not self.text.startswith(NOT_TESTED)

    @property
    def file(self):
        """Name of the file that a first line such as `# mine.py` gives to the block, or empty."""
        named = re.match(r"# (\w+\.py)\n", self.text)
        return named[1] if named else ""

    def commands(self):
        """Yield the words of each command to test; loops are unrolled."""
        lines, values = list(self._lines()), {}
        for line in lines:
            if loop := _LOOP.fullmatch(line.partition(";")[0].strip()):
                values[loop[1]] = loop[2].split()
        for line in lines:
            words = [word for word in shlex.split(line, comments=True) if word != "do"]
            if not words or words[0] in ("for", "done") or NOT_TESTED in line:
                continue
            names = [name for name in values if re.search(rf"\${name}\b", line)]
            for chosen in itertools.product(*(values[name] for name in names)):
                put = dict(zip(names, chosen, strict=True))
                yield from _divided([string.Template(word).safe_substitute(put) for word in words])

    def hidden_commands(self):
        """Return the lines that look like commands although `commands` does not yield them.

        They are in blocks of other languages, such as output, or without `$ ` in a console.
        """
        if self.language == "console":
            lines = [line for line in self.text.splitlines() if not line.startswith("$ ")]
        else:
            lines = [] if self.language in (*SHELL, "python") else self.text.splitlines()
        return [line.strip() for line in lines if _COMMAND.match(line)]

    def _lines(self):
        """Yield the lines of a shell block, with continued ones and quoted ends of line joined."""
        joined = ""
        for line in self.text.replace("\\\n", " ").splitlines():
            if self.language == "console" and not joined:
                if not line.startswith("$ "):
                    continue  # output
                line = line.removeprefix("$ ")
            joined += line
            try:
                shlex.split(joined, comments=True)
            except ValueError:  # a quotation goes on
                joined += "\n"
            else:
                yield joined
                joined = ""


def _divided(words):
    """Yield the words of each command of a line, without variables that are set for it."""
    for between, command in itertools.groupby(words, lambda word: word in _BETWEEN):
        if not between:
            yield list(itertools.dropwhile(_SETTING.match, command))


def blocks(name):
    """Return the blocks of a page, given by its name."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(f"{name}:{line}", match[2], textwrap.dedent(match[3]))
