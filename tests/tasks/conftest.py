"""Small generated sources and vocabularies, shared by the tests of this room."""

import pytest
import tensorflow_datasets as tfds
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import train_sentencepiece
from tests.tasks import beam_runs


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Folder with `big.jsonl` of 60 samples and `small.jsonl` of 20, explained by "program"."""
    folder = tmp_path_factory.mktemp("sources")
    rows = [to_row(sample) for sample in synthetic.generate(80, seed=0)]
    files.write_jsonl(folder / "big.jsonl", rows[:60])
    files.write_jsonl(folder / "small.jsonl", rows[60:])
    return folder


@pytest.fixture(scope="session")
def vocabulary(root, tmp_path_factory):
    """A vocabulary trained on the questions of the big source."""
    texts = [row["question"] for _, row in files.read_jsonl(root / "big.jsonl")]
    return train_sentencepiece(texts, tmp_path_factory.mktemp("vocabulary"), 600, seed=0)


@pytest.fixture(scope="session")
def opt_like(root, tmp_path_factory):
    """A tokenizer folder in the format of transformers; `</s>` (id 2) begins and ends each text."""
    folder = tmp_path_factory.mktemp("opt_like")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (row["question"] for _, row in files.read_jsonl(root / "big.jsonl"))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "</s>")
    files.write_json(folder / "tokenizer_config.json", named | {"add_bos_token": True})
    return folder


@pytest.fixture(scope="session")
def data(root, vocabulary, tmp_path_factory):
    """Three sources, one of them in shards with unusable rows, and an evaluation set."""
    folder = tmp_path_factory.mktemp("data")
    vocabulary.save(folder / "vocabulary")
    big = [row for _, row in files.read_jsonl(root / "big.jsonl")]
    small = [row for _, row in files.read_jsonl(root / "small.jsonl")]
    for number in range(2):
        gated = [row | {"annotations": {"cot": beam_runs.verdict(n)}} for n, row in enumerate(big)]
        rows = gated[number::2]
        files.write_jsonl(folder / f"gated-{number}.jsonl", [{"broken": "\u2028"}, *rows, rows[0]])
    files.write_jsonl(folder / "big.jsonl", big)
    files.write_jsonl(folder / "small.jsonl", [*small, big[7] | {"id": "again"}])
    davinci = {"kind": "cot", "author": "davinci", "text": "Because of that."}
    files.write_jsonl(folder / "davinci.jsonl", [{"id": row["id"], **davinci} for row in small[:9]])
    files.write_jsonl(folder / "asked.jsonl", [{"q": small[3]["question"]}, {"q": None}])
    return folder


@pytest.fixture(scope="session")
def alone(data, tmp_path_factory):
    """Output folder and result of a run in one process."""
    output = tmp_path_factory.mktemp("alone")
    return output, beam_runs.do(beam_runs.make(data, output))


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """A TFDS dataset on disk: three rows with labels, also inside lists and objects."""
    label = tfds.features.ClassLabel(names=["negative", "positive"])
    features = tfds.features.FeaturesDict(
        {
            "question": tfds.features.Text(),
            "label": label,
            "votes": tfds.features.Sequence(label),
            "parts": tfds.features.Sequence({"grade": label, "text": tfds.features.Text()}),
            "judged": {"by": tfds.features.Text(), "as": label},
        }
    )
    folder = tmp_path_factory.mktemp("tfds") / "toy" / "1.0.0"
    folder.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="toy", version=tfds.core.Version("1.0.0"), data_dir=str(folder), module_name="toy"
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=3)
    writer.initialize_splits(["train"])
    row = {
        "question": "Good?",
        "votes": [1, 0],
        "parts": [{"grade": 1, "text": "x"}],
        "judged": {"by": "us", "as": 0},
    }
    writer.add_examples({"train": [row | {"label": label} for label in (0, 1, -1)]})
    writer.close_all()
    return folder
