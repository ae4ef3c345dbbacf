"""Muffin's table of datasets, compared with TFDS, and used to read a dataset on disk."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from teacherlm_jax.data.sample import from_row
from teacherlm_jax.sources import muffin
from teacherlm_jax.sources.muffin.dataset import PROMPTS
from teacherlm_jax.sources.reading import SourceReading
from teacherlm_jax.storage.refused_rows import RefusedRows

SETS = [pytest.param(dataset, id=dataset.name) for dataset in muffin.DATASETS.values()]

# Texts with a syntax of their own, which their datasets parse.
STRUCTURED = {
    "meaning_representation": "name[The Mill], area[city centre]",
    "tripleset": ["Bonn | country | Germany", "Bonn | river | Rhine"],
    "input": ["Bonn_Zoo | location | Bonn"],
}


def example(feature, name=""):
    """Return a value of a TFDS feature as the reader returns it, in plain Python values."""
    if name in STRUCTURED:
        return STRUCTURED[name]
    if isinstance(feature, tfds.features.FeaturesDict):
        return {key: example(inner, key) for key, inner in feature.items()}
    if isinstance(feature, tfds.features.Sequence):
        inner = feature.feature
        if isinstance(inner, tfds.features.FeaturesDict):
            return {key: [example(part, key), example(part, key)] for key, part in inner.items()}
        return [example(inner, name), f"another {name}"]
    kind = np.dtype(feature.np_dtype)
    return f"some {name}" if kind.kind in "OSU" else kind.type(0).item()


@pytest.mark.parametrize("dataset", SETS)
def test_tfds_has_the_dataset_and_the_features_of_every_prompt(dataset, tmp_path):
    for path in dataset.builders:
        name, version = path.rsplit("/", 1)
        builder = tfds.builder(f"{name}:{version}", data_dir=tmp_path)
        row = example(builder.info.features)
        if dataset.name == "record":
            row["entities"] = row["answers"] + ["someone else"]
        for number in range(1, PROMPTS + 1):
            sample = from_row({"id": "1", **dataset.to_fields(number, row)})
            assert "{" not in sample.question


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("anli", {"e": "Yes", "n": "It is impossible to say", "c": "No"}),
        ("cb", {"entailment": "Yes", "neutral": "It is impossible to say", "contradiction": "No"}),
        (
            "mnli",
            {"entailment": "Yes", "neutral": "It is impossible to say", "contradiction": "No"},
        ),
        (
            "snli",
            {"entailment": "Yes", "neutral": "It is impossible to say", "contradiction": "No"},
        ),
        ("rte", {"entailment": "Yes", "not_entailment": "No"}),
        ("qnli", {"entailment": "Yes", "not_entailment": "No"}),
        ("wnli", {"entailment": "Yes", "not_entailment": "No"}),
        ("imdb_reviews", {"neg": "Negative", "pos": "Positive"}),
        ("sst2", {"negative": "Negative", "positive": "Positive"}),
        ("yelp_polarity_reviews", {"1": "Negative", "2": "Positive"}),
        ("mrpc", {"not_equivalent": "No", "equivalent": "Yes"}),
        ("qqp", {"not_duplicate": "No", "duplicate": "Yes"}),
        ("paws_wiki", {"different_meaning": "No", "paraphrase": "Yes"}),
        ("multirc", {"False": "No", "True": "Yes"}),
        ("wsc", {"False": "No", "True": "Yes"}),
        ("wic", {"False": "No", "True": "Yes"}),
        ("cola", {"unacceptable": "Unacceptable", "acceptable": "Acceptable"}),
        (
            "ag_news_subset",
            {
                "World": "World",
                "Sports": "Sports",
                "Business": "Business",
                "Sci/Tech": "Science and technology",
            },
        ),
        (
            "trec",
            {
                "DESC": "A description or definition",
                "ENTY": "A thing",
                "ABBR": "An abbreviation",
                "HUM": "A person or group",
                "NUM": "A number",
                "LOC": "A place",
            },
        ),
    ],
)
def test_options_match_the_labels_of_tfds(name, options, tmp_path):
    dataset = muffin.DATASETS[name]
    answer = dataset.prompts[0].answer
    path, version = dataset.builders[0].rsplit("/", 1)
    label = tfds.builder(f"{path}:{version}", data_dir=tmp_path).info.features[answer.path]
    assert {label.int2str(number): text for number, text in answer.options.items()} == options


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    """A folder with a few rows of super_glue/rte, written by TFDS with the dataset's features."""
    folder = tmp_path_factory.mktemp("tfds")
    info = tfds.builder("super_glue/rte:1.0.2", data_dir=folder).info
    (folder / "super_glue" / "rte" / "1.0.2").mkdir(parents=True)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=5)
    writer.initialize_splits(["train"])
    rows = [
        {
            "premise": f"It is {number} o'clock. ",
            "hypothesis": f"It struck {number}.",
            "idx": number,
            "label": -1 if number == 7 else number % 2,
        }
        for number in range(8)
    ]
    writer.add_examples({"train": rows})
    writer.close_all()
    return folder


def test_each_prompt_is_applied_to_a_dataset_on_disk(tfds_folder, vocabulary):
    questions = {}
    for config in muffin.sources(["rte"]):
        reading = SourceReading(config, str(tfds_folder), seed=0)
        refused = RefusedRows(None)
        samples = [sample for _, sample in reading.first(refused, vocabulary=vocabulary)]
        assert dict(refused.counts) == {"label is -1, which is not the label of an option": 1}
        assert len(samples) == 7 and {sample.options for sample in samples} == {("Yes", "No")}
        for sample in samples:
            number = int(sample.question.split("It struck ")[1].split(".")[0])
            assert sample.answer == ("(A)", "(B)")[number % 2]
            assert f"It is {number} o'clock." in sample.question
        questions[config.name] = {sample.question for sample in samples}
    assert len(set.union(*questions.values())) == 10 * 7
