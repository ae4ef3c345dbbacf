"""`make bench-data`: speed of tokenizing, packing, preparing, and reading during training.

The texts are chains of thought of the real rationale sets in TEACHERLM_DATA (default: the folder
../shared/data next to the checkout), or generated samples without them. Files are in the page
cache. The waiting time is that of a loop that requests a batch of the paper's size and then sleeps,
like a host whose devices compute a step.
"""

import importlib.util
import logging
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.prepared_rows import write_prepared
from teacherlm_jax import config
from teacherlm_jax.data import packing, prepared, prompts, synthetic
from teacherlm_jax.data.packing import Encoded, PackedRow
from teacherlm_jax.data.prompts import Piece
from teacherlm_jax.data.sample import Sample, to_row
from teacherlm_jax.data.synthetic.generating import AUTHOR
from teacherlm_jax.runs.run import Run
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary, train_sentencepiece

DATA = Path(os.environ.get("TEACHERLM_DATA", harness.ROOT.parent / "shared" / "data"))
GENERATED = 8000  # number of generated samples if there are no real ones
LENGTH, BATCH = 2048, 256  # of the paper's smallest model; larger ones train on more hosts
PIECES = 8000  # of the SentencePiece vocabulary
STEP, STEPS, ROUNDS = 0.05, 50, 5  # seconds per step, steps per round, rounds
FAR = 1_000_000  # a late step
ROWS = 8 * BATCH  # smallest number of rows on disk; rows are repeated to reach it
_LABELS = {  # in the table
    "texts": "training examples",
    "tokens": "tokens",
    "sentencepiece_tokens_per_second": "tokenizing, SentencePiece (tokens/s)",
    "byte_level_tokens_per_second": "tokenizing, byte-level BPE (tokens/s)",
    "filled": "non-padding tokens after packing",
    "packed_tokens_per_second": "packing alone (tokens/s)",
    "rows_per_second": "reading (packed rows/s)",
    "megabytes_per_second": "reading (MB/s)",
    "first_batch_seconds": "time to first batch at step 0 (s)",
    "first_batch_far_seconds": f"time to first batch at step {FAR:,} (s)",
    "far_ratio": "ratio of the two",
    "wait_share_of_step": "share of a step spent waiting for its batch, mean",
    "wait_share_of_step_in_the_best_round": "the same, best round",
    "longest_wait_share_of_step": "the same, longest wait",
    "prepared_tokens_per_second": "`prepare` as a whole (tokens/s)",
    "prepared_on_beam_tokens_per_second": "`prepare` on Beam's DirectRunner (tokens/s)",
    "beam_ratio": "speed with Beam relative to without",
    "seqio_filled": "non-padding tokens with SeqIO's packing",
}
FILLED, PACKED, WAITED, FAR_RATIO = 0.97, 1e6, 0.01, 1.5  # goals

Texts = Sequence[tuple[Piece, ...]]


def samples() -> Iterator[tuple[str, Sample]]:
    """Yield pairs of an explanation's author and the explained sample."""
    folder = DATA / "rationale"
    if not folder.is_dir():
        print(f"{DATA}: no such folder; using {GENERATED:,} generated samples instead")
        yield from ((AUTHOR, sample) for sample in synthetic.generate(GENERATED, seed=0))
        return
    for path in sorted(folder.glob("*.jsonl")):
        source = config.SourceConfig(path.stem, path.name, "cot")
        for sample in reading.read_samples(source, str(folder), RefusedRows(None)):
            if sample.explanation("cot", "human"):
                yield "human", sample


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Return the minimum time of several rounds, which other work on the machine hardly affects."""

    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(rounds))


def tokenize(texts: Texts, vocabulary: Vocabulary) -> tuple[list[Encoded], float]:
    """Return the tokenized texts, and the tokens per second."""
    encoded: list[Encoded] = []

    def work() -> None:
        encoded[:] = packing.encode_texts(texts, vocabulary, "answer_and_explanations")

    spent = seconds(work, rounds=2)
    return encoded, sum(len(text.tokens) for text in encoded) / spent


def pack(encoded: Sequence[Encoded]) -> tuple[list[PackedRow], float, float]:
    """Return packed rows, their filled share, and the tokens per second from texts to records."""
    arrays = [
        Encoded(np.array(text.tokens, np.int32), np.array(text.loss_mask)) for text in encoded
    ]
    tokens = sum(len(text.tokens) for text in arrays)
    spent = seconds(lambda: [packing.to_bytes(row) for row in packing.pack(arrays, LENGTH)])
    rows = list(packing.pack(arrays, LENGTH))
    return rows, tokens / (len(rows) * LENGTH), tokens / spent


def seqio_filled(encoded: Sequence[Encoded]) -> float:
    """Return the filled share of the same texts when SeqIO packs them in order."""
    import seqio  # imported here, so that everything else is measured without TensorFlow
    import tensorflow as tf

    texts = tf.ragged.constant([text.tokens for text in encoded], dtype=tf.int32)
    dataset = tf.data.Dataset.from_tensor_slices(texts).map(lambda text: {"targets": text})
    packed = seqio.utils.trim_and_pack_dataset(dataset, {"targets": LENGTH})
    used = [np.count_nonzero(row["targets_segment_ids"]) for row in packed.as_numpy_iterator()]
    return sum(used) / (len(used) * LENGTH)


def write(folder: Path, rows: Sequence[PackedRow], vocabulary: Vocabulary) -> None:
    """Write a prepared folder in which the rows are repeated until there are enough."""
    many = [*rows, *(rows * (ROWS // len(rows)))]
    write_prepared(folder, many, vocabulary, length=LENGTH, rows_per_shard=4096)


def read(folder: Path) -> dict[str, float]:
    """Return rows and bytes per second, times to a first and a late batch, and waiting times."""
    reader = prepared.open(folder).reader(batch_size=BATCH)
    batches = reader.iterate()
    size = sum(array.nbytes for array in next(batches).values())
    rate = 20 * BATCH / seconds(lambda: [next(batches) for _ in range(20)])
    first = _first_batches(folder)
    waits = [[_wait(batches) for _ in range(STEPS)] for _ in range(ROUNDS)]
    return {
        "rows_per_second": rate,
        "megabytes_per_second": rate * size / BATCH / 1e6,
        "first_batch_seconds": first[0],
        "first_batch_far_seconds": first[FAR],
        "far_ratio": first[FAR] / first[0],
        "wait_share_of_step": statistics.fmean(map(statistics.fmean, waits)) / STEP,
        "wait_share_of_step_in_the_best_round": min(map(statistics.fmean, waits)) / STEP,
        "longest_wait_share_of_step": max(map(max, waits)) / STEP,
    }


def _wait(batches: Iterator[object]) -> float:
    """Return the seconds until the next batch is available, after sleeping for one step."""
    start = time.perf_counter()
    next(batches)
    waited = time.perf_counter() - start
    time.sleep(STEP)
    return waited


def _first_batches(folder: Path) -> dict[int, float]:
    """Return the minimum seconds to open the data and read the batch of an early and a late step.

    Nothing is read ahead, because read-ahead costs the same at every step.
    """
    least = {0: math.inf, FAR: math.inf}
    for _ in range(25):
        for step in least:
            start = time.perf_counter()
            prepared.open(folder).reader(batch_size=BATCH).batch(step)
            least[step] = min(least[step], time.perf_counter() - start)
    return least


def prepare(
    folder: Path, samples: Sequence[Sample], author: str, vocabulary: Path, runner: str = ""
) -> float:
    """Return the tokens per second of the verb: read, check, tokenize, shuffle, pack, write."""
    from teacherlm_jax.tasks.prepare import prepare as verb

    files.write_jsonl(folder / "samples.jsonl", map(to_row, samples))
    settings = config.PrepareConfig(
        output=str(folder / f"prepared{runner}"),
        root=str(folder),
        sources=(config.SourceConfig("samples", "samples.jsonl"),),
        mixtures=(config.MixtureConfig("bench", forms=("C",), author=author),),
        vocabulary=config.VocabularyConfig(str(vocabulary)),
        length=LENGTH,
        runner=runner,
    )
    Path(settings.output).mkdir()
    start = time.perf_counter()
    result = verb(settings, Run(Path(settings.output), logging.getLogger("bench")))
    return result["mixtures"]["bench"]["tokens"] / (time.perf_counter() - start)


def measure(folder: Path) -> dict[str, float]:
    """Return all figures by name."""
    authors, explained = zip(*samples(), strict=True)
    texts = [prompts.pieces(sample, "C", authors[0]) for sample in explained]
    random.Random(0).shuffle(texts)
    joined = ("".join(piece.text for piece in text) for text in texts)
    sentencepiece = train_sentencepiece(joined, folder / "vocabulary", PIECES, seed=0)
    encoded, tokenized_per_second = tokenize(texts, sentencepiece)
    figures = {"texts": len(texts), "tokens": sum(len(text.tokens) for text in encoded)}
    figures["sentencepiece_tokens_per_second"] = tokenized_per_second
    if (DATA / "opt_tokenizer").is_dir():
        figures["byte_level_tokens_per_second"] = tokenize(texts, _opt(folder / "opt"))[1]
    rows, figures["filled"], figures["packed_tokens_per_second"] = pack(encoded)
    write(folder / "rows", rows, sentencepiece)
    figures |= read(folder / "rows")
    arguments = (folder, explained, authors[0], folder / "vocabulary")
    figures["prepared_tokens_per_second"] = in_process = prepare(*arguments)
    if importlib.util.find_spec("apache_beam"):  # an optional dependency
        on_beam = prepare(*arguments, "DirectRunner")
        figures["prepared_on_beam_tokens_per_second"] = on_beam
        figures["beam_ratio"] = on_beam / in_process
    return figures | {"seqio_filled": seqio_filled(encoded)}


def _opt(folder: Path) -> Vocabulary:
    """Return OPT's vocabulary, with special tokens that the files in DATA do not name."""
    folder.mkdir()
    for name in ("vocab.json", "merges.txt"):
        content = (DATA / "opt_tokenizer" / f"gpt2-{name}").read_bytes()
        files.write_bytes(folder / name, content)
    named = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    files.write_json(folder / "tokenizer_config.json", named | {"add_bos_token": True})
    files.write_json(folder / "special_tokens_map.json", named)
    return open_vocabulary(folder)


def main() -> int:
    """Run the benchmark; print and save the figures; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    goals = {
        "filled": (f"{FILLED:.0%}", figures["filled"] >= FILLED),
        "packed_tokens_per_second": (
            f"{PACKED:,.0f}",
            figures["packed_tokens_per_second"] >= PACKED,
        ),
        "wait_share_of_step": (f"under {WAITED:.0%}", figures["wait_share_of_step"] < WAITED),
        "far_ratio": (f"under {FAR_RATIO}", figures["far_ratio"] < FAR_RATIO),
    }
    rows = [
        (_LABELS[name], _shown(name, value), goals.get(name, ("",))[0])
        for name, value in figures.items()
    ]
    text = harness.table(("", "measured", "goal"), rows)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "data", text + harness.conditions())
    return harness.finish(
        "data",
        f"{figures['filled']:.1%} filled, {figures['packed_tokens_per_second'] / 1e6:.1f}M "
        f"tokens/s packed, wait of {figures['wait_share_of_step']:.2%} of a {1000 * STEP:.0f} ms "
        f"step, {figures['far_ratio']:.2f} times as long to reach step {FAR:,} as step 0",
        f"{FILLED:.0%}, {PACKED / 1e6:.0f}M, {WAITED:.0%}, {FAR_RATIO}",
        all(met for _, met in goals.values()),
        {"figures": figures, "length": LENGTH, "batch_size": BATCH},
    )


def _shown(name: str, value: float) -> str:
    if "share" in name or "filled" in name:
        return f"{value:.2%}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.4f}"


if __name__ == "__main__":
    sys.exit(main())
