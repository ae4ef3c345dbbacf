"""Real texts, and tokenizers of BLOOM's and OPT's kind in folders as transformers keeps them."""

import json

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")  # BLOOM's, by id


@pytest.fixture(scope="session")
def real_texts(shared_data):
    """A thousand texts of five data sets: questions, answers and explanations."""
    texts = []
    for path in sorted((shared_data / "rationale").glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            rows = [json.loads(next(file)) for _ in range(100)]
        found = [text for row in rows for text in row.values() if isinstance(text, str) and text]
        texts += found[:200]
    assert len(texts) == 1000
    return texts


@pytest.fixture(scope="session")
def make_bloom():
    """A function of a folder, texts and a size: a tokenizer trained by BLOOM's recipe."""
    return _make_bloom


def _make_bloom(folder, texts, size):
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r" ?[^(\s|[.,!?…。，、।۔،])]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("unk_token", "bos_token", "eos_token", "pad_token")
    config = dict(zip(names, SPECIAL, strict=True)) | {"tokenizer_class": "BloomTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text('{"model_type": "bloom"}')


@pytest.fixture(scope="session")
def bloom_folder(make_bloom, real_texts, tmp_path_factory):
    """A tokenizer of 2,000 ids by BLOOM's recipe, trained on the real texts."""
    folder = tmp_path_factory.mktemp("bloom")
    make_bloom(folder, real_texts, 2000)
    return folder


@pytest.fixture(scope="session")
def toy_folder(make_bloom, tmp_path_factory):
    """A small one, whose merges lead to `</s>`, since its texts spell it often."""
    folder = tmp_path_factory.mktemp("toy")
    make_bloom(folder, ["a </s></s></s> b"] * 9, 300)
    return folder
