"""Commands that read and write in a bucket, for tests in which its store fails."""

import pytest

from benchmarks import bucket as bucket_server
from teacherlm_jax.cli.main import main
from teacherlm_jax.data import synthetic
from teacherlm_jax.data.sample import to_row
from teacherlm_jax.storage import files

BASE = f"gs://{bucket_server.NAME}/failing"
CONFIG = f"""
from teacherlm_jax import config

BASE = "{BASE}"
MODEL = config.ModelConfig(layers=1, width=16, heads=2, dtype="float32")
SOURCE = config.SourceConfig("samples", "samples.jsonl")

def prepare():
    return config.PrepareConfig(
        output=f"{{BASE}}/data", root=BASE, sources=(SOURCE,), length=128,
        mixtures=(config.MixtureConfig("mix", forms=("text",), author="synthetic"),),
        vocabulary=config.VocabularyConfig(f"{{BASE}}/vocabulary", size=400),
    )

def train():
    return config.TrainConfig(
        output=f"{{BASE}}/train", data=f"{{BASE}}/data/mix", steps=4, batch_size=8, model=MODEL,
        checkpoint=config.CheckpointConfig(every=2), data_cache="",
    )

def annotate():
    return config.AnnotateConfig(
        output=f"{{BASE}}/annotate", root=BASE, source=SOURCE, slots=8,
        teachers=config.TeachersConfig(cot=f"{{BASE}}/train"),
        sampling=config.SamplingConfig(max_new_tokens=3),
    )

def evaluate():
    return config.EvaluateConfig(
        output=f"{{BASE}}/evaluate", root=BASE, model=f"{{BASE}}/train/checkpoints/4",
        benchmarks=(config.BenchmarkConfig(name="toys", path="samples.jsonl"),),
    )

def report():
    return config.ReportConfig(output=f"{{BASE}}/report", root=BASE)

def get_config(variant):
    return globals()[variant]()
"""
SWEEP = """
def sweep():
    yield "a", {"steps": 2}
    yield "b", {"steps": 4}
"""
VERBS = ("prepare", "train", "annotate", "evaluate", "report")


@pytest.fixture(scope="module")
def commands(_bucket_url, tmp_path_factory):
    """Config file of the commands; their inputs and finished runs are in the bucket."""
    samples = [sample for sample in synthetic.generate(200, seed=1) if sample.options][:24]
    files.write_jsonl(f"{BASE}/samples.jsonl", [to_row(sample) for sample in samples])
    path = tmp_path_factory.mktemp("failing") / "mine.py"
    path.write_text(CONFIG)
    for verb in ("prepare", "train"):
        assert main([verb, f"--config={path}:{verb}"]) == 0
    assert main(["convert", f"{BASE}/train", str(path.parent / "hf")]) == 0
    return path


@pytest.fixture
def command(commands, proxy, bucket, capsys, caplog, tmp_path):
    """Function that runs a command with its output in an empty folder of the bucket.

    It returns the status, and the message if the status is not 0: one line without a traceback.
    """

    def run(verb, *changes):
        capsys.readouterr()
        status = main(words(verb, *changes))
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err + shown.out
        assert not [record for record in caplog.records if record.exc_info]
        if status == 0:
            return 0, ""
        (line,) = shown.err.splitlines()
        assert "http" not in line and "injected" not in line
        return status, line.removeprefix("teacherlm: ")

    def words(verb, *changes):
        if verb == "import":
            return ["convert", str(commands.parent / "hf"), f"{bucket}/out"]
        if verb == "export":
            return ["convert", f"{BASE}/train", str(tmp_path / "hf")]
        if verb == "quickstart":
            return [verb, f"--config=configs/quickstart.py:tiny,root={bucket}"]
        if verb == "plan":
            changes = ("--topology=v5e:2x2", *changes)
            return ["plan", f"--config={commands}:train", f"--config.output={bucket}/out", *changes]
        fresh = [f"--config.vocabulary.path={bucket}/vocabulary"] if verb == "prepare" else []
        output = f"--config.output={bucket}/out"
        return [verb, f"--config={commands}:{verb}", output, *fresh, *changes]

    return run
