"""SeqIO tasks and mixtures: every text once, in a seeded order, tokenized as at inference."""

import collections

import pytest
import seqio

from teacherlm_jax.config import MixtureConfig, PartConfig, SourceConfig
from teacherlm_jax.data import packing, prompts
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tasks.mixtures import add_mixture, read_texts, text_tasks, used_sources
from teacherlm_jax.tasks.surveyed_source import SurveySettings, survey_source
from teacherlm_jax.tokenization.vocabulary import open_vocabulary
from tests.bloom_tokenizer import save_bloom


@pytest.fixture(scope="module")
def sources(root, tmp_path_factory):
    refused, scratch = RefusedRows(None), tmp_path_factory.mktemp("scratch")
    return [
        survey_source(
            SourceConfig(name, f"{name}.jsonl"), SurveySettings(str(root)), refused, scratch / name
        )[0]
        for name in ("big", "small")
    ]


def mixture_config(**settings):
    return MixtureConfig(**{"name": "mix", "author": "program", "forms": ("text", "CM")} | settings)


def texts(surveyed, vocabulary, seed=0, **settings):
    config = mixture_config(**settings)
    tasks = text_tasks(config, surveyed, vocabulary, seed)
    mixture = add_mixture(config.name, tasks, vocabulary)
    return list(read_texts(mixture, seed))


def tokens(texts):
    return [tuple(text.encoded.tokens.tolist()) for text in texts]


def expected(sources, vocabulary, form, loss="text"):
    for source in sources:
        for sample in source.read():
            pieces = prompts.pieces(sample, form, "program")
            yield packing.encode_pieces(pieces, vocabulary, loss)


def test_a_mixture_contains_every_text_of_every_task_once(sources, vocabulary):
    reference = collections.Counter(
        tuple(text.tokens)
        for form in ("text", "CM")
        for text in expected(sources, vocabulary, form)
    )
    mixed = texts(sources, vocabulary)
    assert collections.Counter(tokens(mixed)) == reference
    counts = collections.Counter(text.task for text in mixed)
    assert counts == {"big/text": 60, "big/CM": 60, "small/text": 20, "small/CM": 20}


def test_a_text_keeps_its_last_token_if_the_id_of_eos_is_that_of_padding(sources, tmp_path):
    save_bloom(tmp_path, ["Ann has pens and finds pens. True or false?"], 300)
    names = {"unk_token": "<unk>", "eos_token": "<unk>", "pad_token": "<pad>"}  # <unk> has the id 0
    files.write_json(tmp_path / "tokenizer_config.json", names)
    vocabulary = open_vocabulary(str(tmp_path))
    assert vocabulary.eos_id == 0
    mixed = texts(sources, vocabulary, forms=("text",))
    assert all(text.encoded.tokens[-1] == 0 for text in mixed)
    reference = [tuple(text.tokens) for text in expected(sources, vocabulary, "text")]
    assert sorted(tokens(mixed)) == sorted(reference)


def test_the_order_depends_on_the_seed_only_and_tasks_are_registered_once(sources, vocabulary):
    first = tokens(texts(sources, vocabulary, seed=0))
    registered = len(seqio.TaskRegistry.names())
    assert tokens(texts(sources, vocabulary, seed=0)) == first
    assert len(seqio.TaskRegistry.names()) == registered
    other = tokens(texts(sources, vocabulary, seed=1))
    assert other != first
    assert sorted(other) == sorted(first)


def test_texts_of_different_tasks_are_interleaved(sources, vocabulary):
    names = [text.task for text in texts(sources, vocabulary, forms=("text",))]
    assert 4 <= names[:40].count("small/text") <= 16  # about ten of all twenty


def test_a_mixture_uses_only_the_sources_it_names(sources, vocabulary):
    mixed = texts(sources, vocabulary, sources=("small",), forms=("text",))
    assert {text.task for text in mixed} == {"small/text"}


def test_parts_have_their_own_sources_and_forms(sources, vocabulary):
    also = (PartConfig(("small",), ("C", "M")),)
    settings = {"sources": ("big",), "forms": ("text",), "also": also}
    mixed = texts(sources, vocabulary, **settings)
    counts = collections.Counter(text.task for text in mixed)
    assert counts == {"big/text": 60, "small/C": 20, "small/M": 20}
    used = used_sources(mixture_config(**settings), sources)
    assert [source.config.name for source in used] == ["big", "small"]


def test_questions_of_parts_with_subject_prefix_begin_with_the_subject(sources, vocabulary):
    parts = (PartConfig(("small",), ("text",), subject_prefix=True),)
    mixed = texts(sources, vocabulary, sources=("small",), forms=("C",), also=parts)
    reference = {
        tuple(packing.encode_pieces(pieces, vocabulary, "text").tokens)
        for source in sources
        for sample in source.read()
        for pieces in [prompts.pieces(sample, "text", "program", subject_prefix=True)]
    }
    prefixed = [text for text in mixed if text.task == "small/text"]
    assert len(prefixed) == 20
    assert set(tokens(prefixed)) <= reference
    assert all(sample.subject for source in sources for sample in source.read())


def test_each_text_has_the_token_counts_of_its_fields(sources, vocabulary):
    mixed = texts(sources, vocabulary, sources=("small",), forms=("CM",))
    reference = [text.field_tokens for text in expected(sources[1:], vocabulary, "CM")]
    assert sorted(tuple(text.encoded.field_tokens) for text in mixed) == sorted(reference)


def test_each_text_has_its_loss_mask(sources, vocabulary):
    mixed = texts(sources, vocabulary, forms=("C",), loss="answer_and_explanations")
    masks = {
        tuple(text.tokens): text.loss_mask
        for text in expected(sources, vocabulary, "C", "answer_and_explanations")
    }
    for text in mixed:
        key = tuple(text.encoded.tokens.tolist())
        assert text.encoded.loss_mask.tolist() == list(masks[key])


def test_samples_without_the_explanation_have_a_reason_and_no_text(sources, vocabulary):
    mixed = texts(sources, vocabulary, forms=("C",), author="teacher")
    assert {text.drop for text in mixed} == {"no cot by teacher"}
    assert all(len(text.encoded.tokens) == 0 for text in mixed)


def test_other_programs_can_use_a_task_through_seqio(sources, vocabulary):
    tasks = text_tasks(mixture_config(forms=("text",)), sources, vocabulary, 0)
    mixture = add_mixture("mix", tasks, vocabulary)
    dataset = seqio.get_dataset(
        mixture.name,
        task_feature_lengths={"targets": 64, "loss_mask": 64},
        dataset_split="train",
        shuffle=False,
        num_epochs=1,
        feature_converter=seqio.PassThroughFeatureConverter(),
    )
    example = next(dataset.as_numpy_iterator())
    shown = mixture.output_features["targets"].vocabulary.decode(example["targets"].tolist())
    assert shown.startswith("Q: ")
