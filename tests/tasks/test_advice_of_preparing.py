"""Advice in messages of `prepare`, followed."""

import dataclasses
import re
import shutil

import pytest

from teacherlm_jax.config import MixtureConfig, VocabularyConfig
from teacherlm_jax.errors import UserError

from .test_prepare_vocabulary import do, small


def refusal(config):
    with pytest.raises(UserError) as raised:
        do(config)
    return str(raised.value)


def test_a_vocabulary_of_the_size_that_is_named_is_trained(root, tmp_path):
    config = small(root, tmp_path, vocabulary=VocabularyConfig(str(tmp_path / "vocabulary")))
    size = re.search(r"config\.vocabulary\.size=(\d+)", refusal(config))[1]
    config.vocabulary.size = int(size)
    assert do(config)["mixtures"]["mix"]["texts"]


@pytest.mark.parametrize(
    "changes",
    [
        {"length": 256},
        {"mixtures": (MixtureConfig("mix", forms=("text",), too_long="keep_first"),)},
    ],
)
def test_texts_that_are_all_too_long_fit_after_what_is_named(root, tmp_path, changes):
    mixtures = (MixtureConfig("mix", forms=("text",)),)
    config = small(root, tmp_path, length=4, mixtures=mixtures)
    message = refusal(config)
    assert "raise config.length and config.max_tokens, or change the mixture's too_long='drop'" in (
        message
    )
    assert do(dataclasses.replace(config, **changes))["mixtures"]["mix"]["texts"]


def test_other_inputs_are_prepared_after_each_remedy(root, tmp_path):
    do(small(root, tmp_path / "run"))
    changed = small(root, tmp_path / "run", seed=1, length=128)
    message = refusal(changed)
    assert "choose another config.output, or remove the folder to prepare it again" in message
    elsewhere = dataclasses.replace(changed, output=str(tmp_path / "other"))
    assert do(elsewhere)["mixtures"]["mix"]["texts"]
    shutil.rmtree(re.match(r"(\S+): was prepared from other inputs", message)[1])
    assert do(changed)["mixtures"]["mix"]["texts"]
