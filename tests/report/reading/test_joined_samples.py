"""Samples of one or two teachers, joined by source and id."""

import pytest

from teacherlm_jax.errors import UserError
from teacherlm_jax.report.reading.joined_samples import join
from teacherlm_jax.storage.refused_rows import RefusedRows

from .conftest import row, write_run


def joined(*paths, authors=(), limit=100, seed=0):
    refused = RefusedRows(None)
    return join([*map(str, paths)], authors, limit=limit, seed=seed, refused=refused)


def refusal(*paths, **settings):
    with pytest.raises(UserError) as raised:
        joined(*paths, **settings)
    return str(raised.value)


def ids(samples):
    return [next(filter(None, row)).id for row in samples.samples]


def test_two_runs_are_joined_and_samples_of_one_of_them_are_counted(two_runs):
    found = joined(*two_runs)
    assert ids(found) == [f"s-{n}" for n in range(10)]
    assert [side is None for side in found.samples[0]] == [False, True]
    assert [side is None for side in found.samples[9]] == [True, False]
    assert found.notes == (
        f"samples without an explanation by {two_runs[0]}: 1",
        f"samples without an explanation by {two_runs[1]}: 1",
    )
    first, second = found.samples[1]
    assert first.explanations["cot"] == {"teacher": "cot 1 by one: <b>it</b> is so."}
    assert second.explanations == {"cot": {"teacher": "cot 1 by two: <b>it</b> is so."}}
    assert found.teachers[1].name == str(two_runs[1])
    assert found.teachers[1].models["cot"] == [
        {"teacher": "runs/stage2/checkpoints/600", "step": 600, "model_digest": "sha256:600"}
    ]


def test_the_authors_of_one_file_are_two_teachers(tmp_path):
    rows = [row(n, "one") for n in range(3)]
    for sample in rows:
        sample["explanations"]["cot"] |= {"human": "By heart.", "gpt4": "I know."}
    folder = write_run(tmp_path / "run", rows)
    (teacher,) = joined(folder).teachers
    assert (teacher.name, teacher.author) == (str(folder), "teacher")
    assert [teacher.name for teacher in joined(folder, authors=("human",)).teachers] == ["human"]
    assert joined(folder).notes == (f"{folder}: explanations by gpt4 and human are not shown",)
    pair = joined(folder, authors=("human", "teacher"))
    assert [teacher.name for teacher in pair.teachers] == ["human", "teacher"]
    assert pair.samples[0][0].explanations == {"cot": {"human": "By heart."}}
    assert not pair.samples[0][0].annotations, "the annotation is of another author"
    message = refusal(folder, authors=("human", "me"))
    assert message.startswith(f"config.authors: {folder} has no explanation by 'me'; its authors")
    assert "named twice" in refusal(folder, authors=("human", "human"))


def test_several_authors_without_annotations_have_to_be_named(tmp_path):
    rows = [row(1, "one") | {"annotations": {}}]
    rows[0]["explanations"]["cot"] |= {"human": "By heart.", "gpt4": "I know."}
    folder = write_run(tmp_path / "run", rows)
    assert "as in --config.authors=teacher,human" in refusal(folder)
    other = write_run(tmp_path / "other", [row(1, "two")])
    assert "expected one author; name one for each path" in refusal(folder, other)
    assert "name one for each path" in refusal(folder, other, authors=("a", "b", "c"))
    named = joined(folder, other, authors=("gpt4", "teacher"))
    assert [teacher.author for teacher in named.teachers] == ["gpt4", "teacher"]


def test_a_limit_draws_the_same_samples_of_both_runs(tmp_path):
    first = write_run(tmp_path / "one", (row(n, "one") for n in range(60)))
    second = write_run(tmp_path / "two", (row(n, "two") for n in reversed(range(60))))
    drawn = joined(first, second, limit=20)
    assert len(drawn.samples) == 20 and all(all(row) for row in drawn.samples)
    assert f"20 samples of 60 in {first}, drawn with seed 0" in drawn.notes
    in_order = [f"s-{n}" for n in range(60)]
    assert ids(drawn) != [id for id in in_order if id in ids(drawn)], "in the order of the draw"
    assert ids(joined(first, second, limit=10)) == ids(drawn)[:10]
    assert ids(joined(second, limit=10)) == ids(drawn)[:10]
    assert ids(joined(first, second, limit=20, seed=1)) != ids(drawn)
    assert ids(joined(first, second, limit=60)) == in_order


def test_a_teacher_has_the_models_of_all_samples_whatever_the_limit_draws(tmp_path):
    folder = write_run(tmp_path / "run", (row(n, "one", step=300 * (n % 2)) for n in range(9)))
    for limit in (1, 9):
        (teacher,) = joined(folder, limit=limit).teachers
        assert [model["step"] for model in teacher.models["cot"]] == [0, 300]


def test_runs_on_different_data_are_refused(tmp_path, two_runs):
    other = write_run(tmp_path / "other", [row(1, "two", source="ecqa")])
    message = refusal(two_runs[0], other)
    assert "no sample in both; samples are joined by source and id, such as" in message
    changed = write_run(tmp_path / "changed", [row(1, "two", question="Is 1 even?")])
    assert "'s-1' of 'creak': question in" in refusal(two_runs[0], changed)


def test_samples_without_explanations_are_refused(tmp_path):
    bare = row(1, "one") | {"explanations": {}, "annotations": {}}
    folder = write_run(tmp_path / "bare", [bare])
    assert "explanations by nobody" in refusal(folder)


def test_a_repeated_id_is_counted(tmp_path):
    folder = write_run(tmp_path / "one", [row(1, "one")])
    write_run(tmp_path / "two", [])
    (folder / "samples/part-00001.jsonl").write_text(
        (folder / "samples/part-00000.jsonl").read_text()
    )
    assert f"samples of {folder} that repeat an id, not shown: 1" in joined(folder).notes
