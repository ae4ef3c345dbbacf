"""The command `prepare` on a disk that refuses to write a shard."""

from teacherlm_jax.cli import main
from teacherlm_jax.data.writer import write_shards
from teacherlm_jax.storage import files
from teacherlm_jax.tasks import mixture_folder
from tests.limited_file_size import limited_file_size

CONFIG = """
from teacherlm_jax.config import *

def get_config(variant=""):
    return PrepareConfig(
        output={output!r},
        root={root!r},
        sources=(SourceConfig(name="big", path="big.jsonl"),),
        mixtures=(MixtureConfig(name="mix", author="program"),),
        vocabulary=VocabularyConfig(path={vocabulary!r}),
        length=64,
    )
"""


def test_a_shard_that_gets_too_large_is_named_and_the_command_can_be_repeated(
    root, vocabulary, tmp_path, capsys, monkeypatch
):
    def limited(*args):
        with limited_file_size(4096):  # no longer, since other programs that run inherit the limit
            return write_shards(*args)

    vocabulary.save(tmp_path / "vocabulary")
    output = tmp_path / "run"
    path = tmp_path / "mine.py"
    values = {"output": output, "root": root, "vocabulary": tmp_path / "vocabulary"}
    path.write_text(CONFIG.format(**{key: str(value) for key, value in values.items()}))
    with monkeypatch.context() as patch:
        patch.setattr(mixture_folder, "write_shards", limited)
        assert main.main(["prepare", f"--config={path}"]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    shard = output / ".mix.partial/rows-00000.array_record"
    assert message.startswith(f"teacherlm: {shard}: File too large; finished work is intact")
    assert main.main(["prepare", f"--config={path}"]) == 0
    assert files.read_json(output / "mix/manifest.json")["texts"] > 0
