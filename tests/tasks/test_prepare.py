"""The verb `prepare`: reproducible packed rows with a manifest, and errors that name the cause."""

import logging
from pathlib import Path

import numpy as np
import pytest

from teacherlm_jax.config import MixtureConfig, PrepareConfig, SourceConfig, VocabularyConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.data import prepared as data_folder
from teacherlm_jax.data.sample import from_row
from teacherlm_jax.errors import UserError
from teacherlm_jax.runs.run_folder import open_run
from teacherlm_jax.storage import files
from teacherlm_jax.tasks.prepare import prepare
from teacherlm_jax.tokenization.vocabulary import Vocabulary
from tests.make_run import make_run

LENGTH = 256


def make(root, output, **settings):
    """Return a config with both sources and one mixture of two forms."""
    defaults = {
        "output": str(output),
        "root": str(root),
        "sources": tuple(
            SourceConfig(name=name, path=f"{name}.jsonl") for name in ("big", "small")
        ),
        "mixtures": (MixtureConfig(name="mix", forms=("text", "CMF"), author="program"),),
        "vocabulary": VocabularyConfig(path=str(output / "vocabulary"), size=600),
        "length": LENGTH,
        "rows_per_shard": 10,
    }
    return PrepareConfig(**defaults | settings)


def do(config):
    run = make_run(config.output)
    result = prepare(config, run)
    if result is not None:
        run.finish(result)
    return result


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def prepared(root, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared")
    return output, do(make(root, output))


def rows_of(folder):
    reader = data_folder.open(folder).reader(verify=True)
    for step in range(reader.rows):
        yield {name: value[0] for name, value in reader.batch(step).items()}


def test_the_rows_contain_the_text_of_every_sample_in_every_form(prepared, root):
    output, _ = prepared
    vocabulary = Vocabulary.load(output / "mix" / "vocabulary")
    segments = []
    for row in rows_of(output / "mix"):
        for segment in range(1, row["segment_ids"].max() + 1):
            segments.append(row["tokens"][row["segment_ids"] == segment].tolist())
    expected = []
    for name in ("big", "small"):
        for _, row in files.read_jsonl(root / f"{name}.jsonl"):
            for form in ("text", "CMF"):
                pieces = prompts.pieces(from_row(row), form, "program")
                expected.append(list(packing.encode_pieces(pieces, vocabulary, "text").tokens))
    assert sorted(segments) == sorted(expected)


def test_the_manifest_counts_rows_texts_and_tokens(prepared):
    output, result = prepared
    manifest = files.read_json(output / "mix" / "manifest.json")
    rows = list(rows_of(output / "mix"))
    assert manifest["rows"] == len(rows) == sum(s["records"] for s in manifest["shards"])
    assert manifest["texts"] == sum(row["segment_ids"].max() for row in rows) == 160
    assert manifest["tokens"] == sum(int((row["segment_ids"] > 0).sum()) for row in rows)
    assert manifest["filled"] == round(manifest["tokens"] / (len(rows) * LENGTH), 4)
    assert {task: counts["texts"] for task, counts in manifest["tasks"].items()} == {
        "big/CMF": 60,
        "big/text": 60,
        "small/CMF": 20,
        "small/text": 20,
    }
    assert result["mixtures"]["mix"]["tokens"] == manifest["tokens"]
    assert np.mean([row["loss_mask"].sum() for row in rows]) == manifest["tokens"] / len(rows)


def test_the_same_inputs_give_the_same_bytes(prepared, root, tmp_path):
    output, _ = prepared
    do(make(root, tmp_path))
    assert contents(tmp_path / "mix") == contents(output / "mix")


def test_another_seed_gives_other_rows(prepared, root, tmp_path):
    output, _ = prepared
    do(make(root, tmp_path, seed=1))
    assert contents(tmp_path / "mix") != contents(output / "mix")


def test_a_prepared_mixture_is_kept(prepared, root, caplog):
    output, result = prepared
    before = {path: path.stat().st_mtime_ns for path in (output / "mix").rglob("*")}
    with caplog.at_level(logging.INFO):
        assert do(make(root, output)) == result
    assert f"{output / 'mix'}: already prepared" in caplog.messages
    assert {path: path.stat().st_mtime_ns for path in (output / "mix").rglob("*")} == before


def test_a_mixture_prepared_from_other_inputs_is_refused(prepared, root):
    output, _ = prepared
    with pytest.raises(
        UserError, match=r"mix: was prepared from other inputs \(seed is 5, was 0\);"
    ):
        do(make(root, output, seed=5))


def test_the_unfinished_mixture_of_an_interrupted_run_is_prepared_again(prepared, root, tmp_path):
    output, _ = prepared
    unfinished = tmp_path / ".mix.partial"
    unfinished.mkdir()
    (unfinished / "rows-00000.array_record").write_bytes(b"half")
    do(make(root, tmp_path))
    assert not unfinished.exists()
    assert contents(tmp_path / "mix") == contents(output / "mix")


def test_a_folder_that_prepare_did_not_write_is_not_touched(prepared, root, tmp_path):
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "precious").write_text("mine")
    with pytest.raises(UserError, match="exists but was not written by `prepare`"):
        do(make(root, tmp_path))
    assert (tmp_path / "mix" / "precious").read_text() == "mine"


def small(root, output, **settings):
    """Return a config with the small source only."""
    sources = (SourceConfig(name="small", path="small.jsonl"),)
    return make(root, output, **{"sources": sources} | settings)


def test_texts_that_are_too_long_are_dropped_and_counted(root, tmp_path):
    result = do(small(root, tmp_path, max_tokens=60))
    drops = result["mixtures"]["mix"]["drops"]
    (reason,) = drops["small/CMF"]
    assert reason == "longer than 60 tokens"
    dropped = sum(sum(reasons.values()) for reasons in drops.values())
    assert 0 < dropped == 40 - result["mixtures"]["mix"]["texts"]


def test_texts_that_are_too_long_are_split_if_requested(root, tmp_path):
    mixture = MixtureConfig(name="mix", forms=("CMF",), author="program", too_long="split")
    do(small(root, tmp_path, mixtures=(mixture,), max_tokens=60))
    manifest = files.read_json(tmp_path / "mix" / "manifest.json")
    vocabulary = Vocabulary.load(tmp_path / "mix" / "vocabulary")
    sizes = []
    for _, row in files.read_jsonl(root / "small.jsonl"):
        pieces = prompts.pieces(from_row(row), "CMF", "program")
        sizes.append(len(packing.encode_pieces(pieces, vocabulary, "text").tokens))
    assert manifest["drops"] == {}
    assert manifest["tokens"] == sum(sizes)
    assert manifest["texts"] == sum(-(-size // 60) for size in sizes)
    assert manifest["too_long"] == {"small/CMF": {"split": sum(size > 60 for size in sizes)}}


def test_throughput_is_written_to_its_own_file_and_to_the_result(prepared):
    output, result = prepared
    throughput = files.read_json(output / "throughput.json")
    assert throughput == {"mix": result["mixtures"]["mix"]["throughput"]}
    assert all(figure > 0 for figure in throughput["mix"].values())


def test_the_costs_are_tokens_and_the_time_of_all_commands(prepared, root, tmp_path):
    output, result = prepared
    manifest = files.read_json(output / "mix" / "manifest.json")
    first = result["costs"]
    assert (first["texts"], first["tokens"]) == (manifest["texts"], manifest["tokens"])
    assert first["seconds"] > result["mixtures"]["mix"]["throughput"]["seconds"]
    do(make(root, tmp_path))
    (tmp_path / "result.json").unlink()  # as after an interruption
    again = do(make(root, tmp_path))
    assert again["costs"]["seconds"] == again["mixtures"]["mix"]["throughput"]["seconds"]
    more = (
        *make(root, tmp_path).mixtures,
        MixtureConfig(name="other", forms=("text",), author="program"),
    )
    both = do(make(root, tmp_path, mixtures=more))["costs"]
    assert both["tokens"] > again["costs"]["tokens"]
    assert both["seconds"] > again["costs"]["seconds"]


def test_a_check_prepares_nothing(root, tmp_path):
    config = small(root, tmp_path, check_only=True)
    assert do(config) is None
    result = files.read_json(Path(config.output) / "check.json")
    assert set(result) == {"refused", "survey"}
    (counts,) = result["survey"]["sources"]["small"].values()
    assert counts == {"read": 20, "used": 20, "refused": {}}
    assert [path.name for path in Path(config.output).iterdir()] == ["check.json"]


def test_a_check_reads_all_sources_and_names_the_unusable_ones(root, tmp_path):
    sources = (
        SourceConfig("gone", "gone.jsonl"),
        SourceConfig("small", "small.jsonl"),
        SourceConfig("lost", "lost-*.jsonl"),
    )
    config = small(root, tmp_path, check_only=True, sources=sources)
    with pytest.raises(
        UserError, match=r"^2 of 3 sources cannot be used, for example 'gone': .*gone"
    ):
        do(config)
    survey = files.read_json(Path(config.output) / "check.json")["survey"]
    assert set(survey["unusable"]) == {"gone", "lost"} and set(survey["sources"]) == {"small"}


def test_the_folder_of_a_check_can_be_used_to_prepare_with_another_config(root, tmp_path):
    for config in (small(root, tmp_path, check_only=True), small(root, tmp_path, length=48)):
        with open_run(config.output, "prepare", config) as folder:
            assert folder.result is None
            prepare(config, folder)
    assert (Path(config.output) / "mix" / "manifest.json").exists()


def test_a_check_that_lists_duplicates_can_be_repeated_with_another_source(root, tmp_path):
    rows = [row for _, row in files.read_jsonl(root / "small.jsonl")]
    files.write_jsonl(tmp_path / "data.jsonl", [*rows, rows[0] | {"id": "again"}])
    for limit, listed in ((0, True), (5, False)):
        sources = (SourceConfig(name="data", path=str(tmp_path / "data.jsonl"), limit=limit),)
        config = make(root, tmp_path / "out", sources=sources, check_only=True)
        with open_run(config.output, "prepare", config) as folder:
            prepare(config, folder)
        assert (tmp_path / "out" / "overlaps.jsonl").exists() is listed


def test_samples_without_the_explanation_are_dropped_and_counted(root, tmp_path):
    mixture = MixtureConfig(name="mix", forms=("text", "C"), author="teacher")
    result = do(small(root, tmp_path, mixtures=(mixture,)))
    assert result["mixtures"]["mix"]["drops"] == {"small/C": {"no cot by teacher": 20}}
    assert result["mixtures"]["mix"]["texts"] == 20


def test_refused_rows_are_listed_beside_the_mixtures(root, tmp_path):
    rows = [row for _, row in files.read_jsonl(root / "small.jsonl")]
    files.write_jsonl(tmp_path / "data.jsonl", [*rows, rows[0] | {"id": "new", "answer": "(Z)"}])
    sources = (SourceConfig(name="data", path=str(tmp_path / "data.jsonl")),)
    result = do(make(root, tmp_path / "out", sources=sources))
    assert result["refused"] == {"the answer is not one of the options": 1}
    ((_, entry),) = files.read_jsonl(tmp_path / "out" / "refused.jsonl")
    assert (entry["line"], entry["row"]["id"]) == (21, "new")


def test_explanations_that_failed_a_gate_are_left_out_of_a_checked_mixture(root, tmp_path):
    def annotated(number, row):
        verdict = {"gates": {"finished": number % 4 > 0}, "author": "program"}
        return row | {"annotations": {"cot": verdict}}

    rows = [row for _, row in files.read_jsonl(root / "small.jsonl")]
    checked = [annotated(number, row) for number, row in enumerate(rows)]
    files.write_jsonl(tmp_path / "data.jsonl", checked)
    sources = (SourceConfig(name="data", path=str(tmp_path / "data.jsonl")),)
    mixtures = tuple(
        MixtureConfig(name=name, forms=("C",), author="program", checked_only=name == "checked")
        for name in ("all", "checked")
    )
    result = do(make(root, tmp_path / "out", sources=sources, mixtures=mixtures))["mixtures"]
    assert result["all"]["texts"] == 20
    assert result["checked"]["texts"] == 15
    assert result["checked"]["drops"] == {"data/C": {"no cot by program that passed its gates": 5}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixtures": (MixtureConfig(name="mix", sources=("bog",)),)}, "no source is named 'bog'"),
        ({"mixtures": (MixtureConfig(name="../mix"),)}, r"\[0\].name: '../mix' cannot name"),
        ({"mixtures": (MixtureConfig(name="mix", forms=("C", "C")),)}, "'C' appears twice"),
        (
            {"mixtures": (MixtureConfig(name="mix", forms=("C",), author="nobody"),)},
            r"mixture 'mix': no text is left to train on.*'no cot by nobody': 20",
        ),
        (
            {"sources": (SourceConfig(name="small", path="nowhere.jsonl"),)},
            "nowhere.jsonl: no file",
        ),
    ],
)
def test_a_config_that_cannot_be_prepared_is_refused(root, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        do(small(root, tmp_path, **settings))


def test_moved_and_renamed_raw_files_are_the_same_inputs(root, tmp_path, caplog):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    content = (root / "small.jsonl").read_bytes()
    (tmp_path / "here" / "small.jsonl").write_bytes(content)
    (tmp_path / "there" / "other.json").write_bytes(content)
    output, before = tmp_path / "out", SourceConfig("small", "small.jsonl")
    do(small(tmp_path / "here", output, sources=(before,)))
    moved = small(tmp_path / "there", output, sources=(SourceConfig("small", "other.json"),))
    with caplog.at_level(logging.INFO):
        do(moved)
    assert f"{output / 'mix'}: already prepared" in caplog.messages
    (tmp_path / "there" / "other.json").write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])
    with pytest.raises(UserError, match=r"mix: was prepared from other inputs \(sources.small.dig"):
        do(moved)


def long_questions(tmp_path, **settings):
    rows = [
        {"id": str(n), "question": "Why is this so? " * 40, "answer": "Because of that."}
        for n in range(12)
    ]
    files.write_jsonl(tmp_path / "long.jsonl", rows)
    values = {"forms": ("text",), "loss": "answer", "too_long": "keep_first"}
    mixture = MixtureConfig(name="mix", **values | settings)
    source = SourceConfig("long", "long.jsonl", "columns")
    return make(tmp_path, tmp_path / "out", sources=(source,), mixtures=(mixture,), length=64)


def test_a_mixture_without_a_trained_token_is_refused_and_leaves_no_files(tmp_path):
    config = long_questions(tmp_path)
    message = r"'mix': no text is left .*'no trained token': 12.*too_long='keep_first'"
    with pytest.raises(UserError, match=message):
        do(config)
    assert not list(Path(config.output).glob("*mix*"))
    assert do(long_questions(tmp_path, too_long="keep_last"))["mixtures"]["mix"]["texts"] == 12


def test_students_learn_from_the_author_that_a_mixture_names(root, tmp_path):
    rows = [row for _, row in files.read_jsonl(root / "small.jsonl")]
    texts = [
        {"id": row["id"], "kind": kind, "author": author, "text": f"{author} on {row['question']}"}
        for number, row in enumerate(rows)
        for kind in ("cot", "mistake")
        for author in ("davinci", "Ann")[: 1 + number % 2]
    ]
    files.write_jsonl(tmp_path / "texts.jsonl", texts)
    config = make(
        root,
        tmp_path,
        sources=(
            SourceConfig("small", "small.jsonl", explanations=str(tmp_path / "texts.jsonl")),
            SourceConfig("big", "big.jsonl"),
        ),
        mixtures=tuple(
            MixtureConfig(author, ("small",), ("CM",), author=author)
            for author in ("program", "davinci", "Ann")
        ),
    )
    manifests = do(config)["mixtures"]
    vocabulary = Vocabulary.load(tmp_path / "program" / "vocabulary")
    for author in ("program", "davinci", "Ann"):
        texts = {
            tuple(row["tokens"][row["segment_ids"] == segment].tolist())
            for row in rows_of(tmp_path / author)
            for segment in range(1, row["segment_ids"].max() + 1)
        }
        explained = []
        for number, row in enumerate(rows):
            sample = from_row(row)
            if author != "program":
                own = {author: f"{author} on {sample.question}"}
                sample = from_row(row | {"explanations": {"cot": own, "mistake": own}})
            if author != "Ann" or number % 2:
                pieces = prompts.pieces(sample, "CM", author)
                explained.append(tuple(packing.encode_pieces(pieces, vocabulary, "text").tokens))
        assert texts == set(explained) and len(explained) == (10 if author == "Ann" else 20)
        inputs = files.read_json(tmp_path / author / "manifest.json")["inputs"]["sources"]["small"]
        counts = {"davinci": 20, "Ann": 10}
        assert inputs["imported"] == {"cot": counts, "mistake": counts}
        assert "explanations" not in inputs and "path" not in inputs
    assert manifests["Ann"]["drops"] == {"small/CM": {"no cot by Ann": 10}}
    files.write_jsonl(tmp_path / "texts.jsonl", [])
    with pytest.raises(UserError, match="was prepared from other inputs"):
        do(config)
