"""Advice in error messages about prepared and generated data, which works when it is followed."""

import dataclasses
import re
import shutil

import pytest

from teacherlm_jax.data import prepared, recipes, synthetic
from teacherlm_jax.data.synthetic import families
from teacherlm_jax.errors import UserError
from teacherlm_jax.storage import files

from .test_prepared import folder, vocabulary  # noqa: F401 (fixtures)


def refusal(function, *arguments, **settings):
    with pytest.raises(UserError) as raised:
        function(*arguments, **settings)
    return str(raised.value)


def without_manifest(path):
    (path / "manifest.json").unlink()


def without_key(path):
    manifest = files.read_json(path / "manifest.json")
    del manifest["rows"]
    files.write_json(path / "manifest.json", manifest)


def with_text(path):
    manifest = files.read_json(path / "manifest.json")
    files.write_json(path / "manifest.json", manifest | {"length": "8"})


def other_digest(path):
    manifest = files.read_json(path / "manifest.json")
    manifest["inputs"]["vocabulary"]["digest"] = "sha256:0"
    files.write_json(path / "manifest.json", manifest)


def without_shard(path):
    next(path.glob("rows-*")).unlink()


def truncated(path):
    shard = next(path.glob("rows-*"))
    shard.write_bytes(shard.read_bytes()[:-1])


def altered(path):
    shard = next(path.glob("rows-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))


def zeroed(path):
    shard = next(path.glob("rows-*"))
    shard.write_bytes(bytes(shard.stat().st_size))


def other_rows(path):
    manifest = files.read_json(path / "manifest.json")
    files.write_json(path / "manifest.json", manifest | {"rows": manifest["rows"] + 1})


def shorter_rows(path):
    manifest = files.read_json(path / "manifest.json")
    files.write_json(path / "manifest.json", manifest | {"length": 5})


FAULTS = {
    "no folder": (shutil.rmtree, "run `teacherlm prepare`, which writes one for each mixture"),
    "no manifest": (without_manifest, "let `prepare` finish"),
    "no key": (without_key, prepared.PREPARE_AGAIN),
    "value": (with_text, prepared.PREPARE_AGAIN),
    "vocabulary": (other_digest, prepared.PREPARE_AGAIN),
    "no shard": (without_shard, prepared.PREPARE_AGAIN),
    "short shard": (truncated, prepared.PREPARE_AGAIN),
    "digest": (altered, prepared.PREPARE_AGAIN),
    "rows": (other_rows, prepared.PREPARE_AGAIN),
    "damaged row": (shorter_rows, prepared.PREPARE_AGAIN),
}


def read(path, verify=True):
    return prepared.open(path).reader(verify=verify).batch(0)


@pytest.mark.parametrize("fault", FAULTS)
def test_rows_are_read_after_they_are_prepared_again(
    folder,  # noqa: F811
    tmp_path,
    fault,
):
    damage, advice = FAULTS[fault]
    new = shutil.copytree(folder, tmp_path / "new")  # as another `prepare` writes it
    damage(folder)
    assert refusal(read, folder).endswith(advice)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    assert read(folder)


def test_unverified_rows_are_read_after_they_are_prepared_again(folder, tmp_path):  # noqa: F811
    new = shutil.copytree(folder, tmp_path / "new")
    zeroed(folder)
    message = refusal(read, folder, verify=False)
    assert ": a shard cannot be opened: " in message and message.endswith(prepared.PREPARE_AGAIN)
    shutil.rmtree(folder)
    new.rename(folder)
    assert read(folder, verify=False)


def test_rows_are_read_from_the_folder_of_one_mixture(folder):  # noqa: F811
    message = refusal(read, folder.parent)
    assert "; name the folder of one mixture in the output of `prepare`" in message
    assert read(folder)


def test_a_recipe_takes_the_sources_as_a_message_says():
    message = refusal(recipes.mixture, "teacher_stage1", sources=("a",), teacher_data=("b",))
    assert message.endswith("; name all sources in sources")
    assert recipes.mixture("teacher_stage1", sources=("a", "b")).sources == ("a", "b")
    message = refusal(recipes.mixture, recipes.NO_STAGE, sources=("a",))
    assert message.endswith("(sources=…) and those of stages 2 and 3 (teacher_data=…); set both")
    control = recipes.mixture(recipes.NO_STAGE, sources=("a",), teacher_data=("b",))
    assert (control.sources, control.also[0].sources) == (("a",), ("b",))


def test_the_recipes_that_a_message_names_exist():
    message = refusal(recipes.mixture, "teacher_stage_1")
    name = re.search(r"did you mean '(\w+)'\?", message)[1]
    for recipe in (name, *message.partition(" Known: ")[2].split(", ")):
        settings = {"sources": ("a",), "teacher_data": ("b",) if recipe == recipes.NO_STAGE else ()}
        assert recipes.mixture(recipe, **settings).name == recipe


@pytest.mark.parametrize("settings", [{"count": 9}, {"families": None, "count": 300}])
def test_samples_are_generated_after_asking_for_fewer_or_for_more_families(settings):
    def generate(count, families):
        return list(synthetic.generate(count, 0, families=families, split="test"))

    family = "logic" if "logic" in synthetic.FAMILIES else next(iter(synthetic.FAMILIES))
    few = {"count": 50_000, "families": (family,)}
    message = refusal(generate, **few)
    assert message.endswith("; ask for fewer samples or for more families")
    assert generate(**few | settings)


@pytest.mark.parametrize("key", ["families", "split"])
def test_the_families_and_splits_that_a_message_names_can_be_generated(key):
    def generate(name):
        return list(synthetic.generate(1, 0, **{key: (name,) if key == "families" else name}))

    known = refusal(generate, "none").partition("expected one of ")[2].split(", ")
    assert all(len(generate(name)) == 1 for name in known)


@pytest.mark.parametrize(
    "change", [{"question": "Why?"}, {"options": ("x", "y")}, {"answer": "other"}]
)
def test_samples_are_solved_after_the_dataset_is_generated_again(change):
    def sample():
        return next(iter(synthetic.generate(1, 0)))

    if "answer" in change:
        change = {"answer": "(A)" if sample().answer == "(B)" else "(B)"}
    message = refusal(families.solve, dataclasses.replace(sample(), **change))
    assert message.endswith("; generate the dataset again")
    assert families.solve(sample())
