"""The documentation: links lead somewhere, and what pages name exists in the program."""

import ast
import dataclasses
import itertools
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

from teacherlm_jax import config
from teacherlm_jax.cli import config_file, help_text
from teacherlm_jax.cli.tools import TOOLS
from teacherlm_jax.config import names
from teacherlm_jax.pipelines.verbs import VERBS
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from tests import doc_blocks

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = doc_blocks.pages()


def text_of(name):
    return PAGES[name].read_text(encoding="utf-8")


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors_of(text):
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(path):
    """Return (file, anchor) of every relative link in a page."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text(encoding="utf-8")))
    parts = (target.partition("#") for target in targets if "://" not in target)
    return [((path.parent / file).resolve() if file else path, anchor) for file, _, anchor in parts]


def keys_of_all_verbs():
    helps = (help_text.verb_help(name, verb, ()) for name, verb in VERBS.items())
    return {key for text in helps for key in re.findall(r"--config\.([\w.\[\]]+)", text)}


@pytest.mark.parametrize("name", PAGES)
def test_every_relative_link_leads_to_a_file_and_a_heading(name):
    for target, anchor in links_of(PAGES[name]):
        if (ROOT / "benchmarks" / "results") in target.parents:
            continue  # a benchmark writes it when it runs
        assert target.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors_of(target.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_the_index_links_to_every_page():
    linked = {target for target, _ in links_of(DOCS / "README.md")}
    assert {path for path in PAGES.values() if DOCS in path.parents} - {
        DOCS / "README.md"
    } <= linked


@pytest.mark.parametrize("name", PAGES)
def test_every_example_in_python_can_be_parsed(name):
    for block in re.findall(r"```python\n(.+?)```", text_of(name), re.DOTALL):
        ast.parse(block)


def texts_of_the_program():
    """Return all texts in the package and the Makefile, with … for each value put into them."""
    texts = [(ROOT / "Makefile").read_text(encoding="utf-8")]
    for path in (ROOT / "teacherlm_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(value, "value", "…") for value in node.values)
                texts.append("".join(part if isinstance(part, str) else "…" for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts).replace("`", "")


def test_every_message_on_the_page_about_troubleshooting_is_one_of_the_program():
    cells = re.findall(r"^\| (`.+?) \|", text_of("docs/how-to/troubleshooting.md"), re.MULTILINE)
    messages = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    of_others = {"no matches found: --config.sources[0].path=…", "the loss is nan"}
    known = texts_of_the_program()
    assert len(messages) > 30
    for message in set(messages) - of_others:
        for part in message.split("…"):
            assert part.strip(" ;") in known, f"{part!r} of {message!r}"


@pytest.mark.parametrize("name", PAGES)
def test_every_key_that_a_page_sets_exists(name):
    named = re.findall(r"--config\.([a-z][\w.\[\]]*\w)", text_of(name))
    known = keys_of_all_verbs() | {"optimizer.lerning_rate"}  # an example of a wrong key
    assert {re.sub(r"\[\d+\]", "[N]", key) for key in named} <= known


def test_every_table_that_a_benchmark_writes_has_its_place_on_one_page():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py")]
    written = {
        node.args[1].value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "put_into"
        if isinstance(node.args[1], ast.Constant)
    }
    assert {"train", "attention", "plan"} <= written
    for name in written:
        pages = [page for page in PAGES if f"<!-- {name} -->\n" in text_of(page)]
        assert len(pages) == 1, f"{name}: {pages}"
        assert f"<!-- /{name} -->\n" in text_of(pages[0])


def test_the_reference_of_sources_has_every_reader_format_and_key():
    text = text_of("docs/reference/sources.md")
    fields = [
        field.name
        for kind in (config.SourceConfig, config.ColumnsConfig)
        for field in dataclasses.fields(kind)
        if field.name not in ("name", "prompt", "author")
    ]
    for word in (*names.READERS, *names.FORMATS, *fields):
        assert f"`{word}" in text, word


def test_the_reference_of_samples_has_every_gate():
    text = text_of("docs/reference/sample-format.md")
    on = [gate for gate in names.GATES if re.search(rf"^\| `{gate}` .*\| on \|$", text, re.M)]
    off = [gate for gate in names.GATES if re.search(rf"^\| `{gate}` .*\| off \|$", text, re.M)]
    assert (*on, *off) == names.GATES
    assert tuple(on) == config.AnnotateConfig.__dataclass_fields__["gates"].default


def test_the_table_of_sampling_settings_has_the_values_of_the_program():
    heading = "| key of `sampling` | default | TeacherLM authors' script |\n|---|---|---|\n"
    table = text_of("docs/how-to/annotate-your-csv.md").partition(heading)[2].partition("\n\n")[0]
    default, authors = config.SamplingConfig(), config.authors_sampling()
    assert table.splitlines() == [
        f"| `{key}` | {value} | {getattr(authors, key)} |" for key, value in vars(default).items()
    ]


def test_the_reference_of_files_has_every_name_in_a_run_folder():
    text = text_of("docs/reference/files.md")
    values = {key: value for key, value in vars(layout).items() if key.isupper()}
    named = {value for value in values.values() if isinstance(value, str)}
    for name in named - {layout.EVALUATION_REFUSED}:
        assert f"`{name}" in text, name


def test_the_readme_has_every_command_and_is_read_in_three_minutes():
    text = text_of("README.md")
    for name in (*VERBS, *TOOLS):
        assert re.search(rf"^\| .*`{name}\b", text, re.MULTILINE), name
    prose = re.sub(r"```.*?```|\]\([^)]*\)|<!--.*?-->", "", text, flags=re.DOTALL)
    words = re.findall(r"[\w.,'-]*\w", prose)
    assert len(words) <= 750  # at 250 words a minute; without code and the targets of links


def test_the_reference_of_commands_has_every_verb_and_the_keys_that_may_change():
    text = text_of("docs/reference/commands-and-config.md")
    for name in (*VERBS, *TOOLS):
        assert re.search(rf"^\| `{name}\b", text, re.MULTILINE), name
    for name, tool in TOOLS.items():
        section = text.partition(f"\n## {name.capitalize()}\n")[2].partition("\n## ")[0]
        assert all(f"`--{option.name}" in section for option in dataclasses.fields(tool.options)
                   if "words" not in option.metadata)  # fmt: skip
    for name, verb in VERBS.items():
        if verb.may_change and verb.may_change != ("",):
            row = f"| `{name}` | {', '.join(f'`{key}`' for key in verb.may_change)}"
            assert row in text


def test_the_page_on_buckets_has_every_verb_and_the_address_of_a_quickstart():
    text = text_of("docs/how-to/buckets.md")
    for name in VERBS:
        assert re.search(rf"^\| `{name}` \| yes", text, re.MULTILINE), name
    file, variant = re.search(r"--config=(configs/quickstart\.py):(root=\S+)`", text).groups()
    module = config_file.load(ROOT / file)
    settings = config_file.get_config(module, file, variant, (config.QuickstartConfig,))
    assert f"root={settings.output}" == variant


def test_the_page_for_users_of_other_libraries_names_what_exists():
    text = text_of("docs/explanation/coming-from.md")
    parts = [re.sub(r"\[N\]", "", key).split(".") for key in keys_of_all_verbs()]
    spans = {
        ".".join(part[start:end])
        for part in parts
        for start, end in itertools.combinations(range(len(part) + 1), 2)
    }
    known = spans | set(config.__all__) | set(VERBS) | {"load", "hf", "save_to_disk"}
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    here = [span for row in rows for span in re.findall(r"`([^`]+)`", row[-1])]
    assert len(here) > 80
    names = {re.sub(r"\[N\]|[=(].*|^teacherlm | .*$", "", span) for span in here} - known
    others = ('"', "--", "gs://", "RUN/", "NAME.")
    unknown = {name for name in names if not name.startswith(others)}
    assert {name for name in unknown if not _exists_in_python(name)} == set()


def _exists_in_python(name):
    if name.startswith("Model"):
        name = f"teacherlm_jax.api.{name}"
    try:
        return pkgutil.resolve_name(name) is not None
    except (AttributeError, ImportError, ValueError):
        return False


def test_the_figures_of_mutation_testing_are_complete_and_agree_with_their_lists():
    settings = tomllib.loads((ROOT / "benchmarks/mutants.toml").read_text(encoding="utf-8"))
    recorded = files.read_json(ROOT / "benchmarks/results/mutants.json")["files"]
    assert [*recorded] == [file["source"] for file in settings["file"]]
    for figures in recorded.values():
        counts = [figures[name] for name in ("killed", "survived", "equivalent")]
        assert figures["tested"] == sum(counts)
        assert figures["survived"] == len(figures["survivors"])
