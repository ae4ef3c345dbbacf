"""Data on its way to the model: tokenising, packing, preparing, and reading while a model trains.

Texts are chains of thought of the real rationale sets (TEACHERLM_DATA, or ../shared/data beside the
checkout); without them, generated samples. Files are in the page cache. The waiting time is that of
a loop that asks for a batch of the paper's size and then sleeps, as a host does while its devices
work for a step.
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
from teacherlm_jax.runs.run_folder import Run
from teacherlm_jax.sources import reading
from teacherlm_jax.storage import files
from teacherlm_jax.storage.refused_rows import RefusedRows
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary, train_sentencepiece

DATA = Path(os.environ.get("TEACHERLM_DATA", harness.ROOT.parent / "shared" / "data"))
GENERATED = 8000  # samples, where there are no real ones
LENGTH, BATCH = 2048, 256  # of the paper's smallest model; larger ones train on more hosts
PIECES = 8000  # of the SentencePiece vocabulary
STEP, STEPS, ROUNDS = 0.05, 50, 5  # seconds, steps of a round; the round of least waiting counts
FAR = 1_000_000
ROWS = 8 * BATCH  # on disk at least, those of the sets as often as it takes
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
    """Yields the author of the explanations, and a sample that has one."""
    folder = DATA / "rationale"
    if not folder.is_dir():
        print(f"no real data at {DATA}: {GENERATED:,} generated samples stand in for it")
        yield from ((AUTHOR, sample) for sample in synthetic.generate(GENERATED, seed=0))
        return
    for path in sorted(folder.glob("*.jsonl")):
        source = config.SourceConfig(path.stem, path.name, "cot")
        for sample in reading.read_samples(source, str(folder), RefusedRows(None)):
            if sample.explanation("cot", "human"):
                yield "human", sample


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The least time of some rounds, so that other work on the machine hardly changes it."""

    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(rounds))


def tokenise(texts: Texts, vocabulary: Vocabulary) -> tuple[list[Encoded], float]:
    """The texts as tokens, and tokens a second."""
    encoded: list[Encoded] = []

    def work() -> None:
        encoded[:] = packing.encode_texts(texts, vocabulary, "answer_and_explanations")

    spent = seconds(work, rounds=2)
    return encoded, sum(len(text.tokens) for text in encoded) / spent


def pack(encoded: Sequence[Encoded]) -> tuple[list[PackedRow], float, float]:
    """The rows, their filled share, and tokens a second from texts to records."""
    arrays = [
        Encoded(np.array(text.tokens, np.int32), np.array(text.loss_mask)) for text in encoded
    ]
    tokens = sum(len(text.tokens) for text in arrays)
    spent = seconds(lambda: [packing.to_bytes(row) for row in packing.pack(arrays, LENGTH)])
    rows = list(packing.pack(arrays, LENGTH))
    return rows, tokens / (len(rows) * LENGTH), tokens / spent


def seqio_filled(encoded: Sequence[Encoded]) -> float:
    """The filled share of the same texts in the same order, packed by SeqIO as they come."""
    import seqio  # here, as all else is measured without TensorFlow
    import tensorflow as tf

    texts = tf.ragged.constant([text.tokens for text in encoded], dtype=tf.int32)
    dataset = tf.data.Dataset.from_tensor_slices(texts).map(lambda text: {"targets": text})
    packed = seqio.utils.trim_and_pack_dataset(dataset, {"targets": LENGTH})
    used = [np.count_nonzero(row["targets_segment_ids"]) for row in packed.as_numpy_iterator()]
    return sum(used) / (len(used) * LENGTH)


def write(folder: Path, rows: Sequence[PackedRow], vocabulary: Vocabulary) -> None:
    """A prepared folder of the rows, as often as it takes to have enough of them."""
    many = [*rows, *(rows * (ROWS // len(rows)))]
    write_prepared(folder, many, vocabulary, length=LENGTH, rows_per_shard=4096)


def read(folder: Path) -> dict[str, float]:
    """Rows and bytes a second, first batches near and far, and waiting beside a step."""
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
    """Seconds until the next batch is there; then a step's time passes."""
    start = time.perf_counter()
    next(batches)
    waited = time.perf_counter() - start
    time.sleep(STEP)
    return waited


def _first_batches(folder: Path) -> dict[int, float]:
    """Seconds from nothing open to the batch of a step, near and far, which take turns.

    Nothing is read ahead: that is as much work behind every step.
    """
    least = {0: math.inf, FAR: math.inf}
    for _ in range(25):
        for step in least:
            start = time.perf_counter()
            prepared.open(folder).reader(batch_size=BATCH).batch(step)
            least[step] = min(least[step], time.perf_counter() - start)
    return least


def prepare(
    folder: Path, found: Sequence[Sample], author: str, vocabulary: Path, runner: str = ""
) -> float:
    """Tokens a second of the whole verb: read, check, tokenise, shuffle, pack, write."""
    from teacherlm_jax.tasks.prepare import prepare as verb

    files.write_jsonl(folder / "samples.jsonl", map(to_row, found))
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
    """All figures by name."""
    authors, found = zip(*samples(), strict=True)
    texts = [prompts.pieces(sample, "C", authors[0]) for sample in found]
    random.Random(0).shuffle(texts)
    spoken = ("".join(piece.text for piece in text) for text in texts)
    sentencepiece = train_sentencepiece(spoken, folder / "vocabulary", PIECES, seed=0)
    encoded, tokenised = tokenise(texts, sentencepiece)
    figures = {"texts": len(texts), "tokens": sum(len(text.tokens) for text in encoded)}
    figures["sentencepiece_tokens_per_second"] = tokenised
    if (DATA / "opt_tokenizer").is_dir():
        figures["byte_level_tokens_per_second"] = tokenise(texts, _opt(folder / "opt"))[1]
    rows, figures["filled"], figures["packed_tokens_per_second"] = pack(encoded)
    write(folder / "rows", rows, sentencepiece)
    figures |= read(folder / "rows")
    given = (folder, found, authors[0], folder / "vocabulary")
    figures["prepared_tokens_per_second"] = alone = prepare(*given)
    if importlib.util.find_spec("apache_beam"):  # an extra
        figures["prepared_on_beam_tokens_per_second"] = on_beam = prepare(*given, "DirectRunner")
        figures["beam_ratio"] = on_beam / alone
    return figures | {"seqio_filled": seqio_filled(encoded)}


def _opt(folder: Path) -> Vocabulary:
    """OPT's vocabulary, whose padding and ends the benchmark's data does not tell."""
    folder.mkdir()
    for name in ("vocab.json", "merges.txt"):
        content = (DATA / "opt_tokenizer" / f"gpt2-{name}").read_bytes()
        files.write_bytes(folder / name, content)
    named = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    files.write_json(folder / "tokenizer_config.json", named | {"add_bos_token": True})
    files.write_json(folder / "special_tokens_map.json", named)
    return open_vocabulary(folder)


def main() -> int:
    """Prints the figures; the status says whether all goals are met."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    goals = {
        "filled": (f"{FILLED:.0%}", found["filled"] >= FILLED),
        "packed_tokens_per_second": (f"{PACKED:,.0f}", found["packed_tokens_per_second"] >= PACKED),
        "wait_share_of_step": (f"under {WAITED:.0%}", found["wait_share_of_step"] < WAITED),
        "far_ratio": (f"under {FAR_RATIO}", found["far_ratio"] < FAR_RATIO),
    }
    rows = [
        (_LABELS[name], _shown(name, value), goals.get(name, ("",))[0])
        for name, value in found.items()
    ]
    text = harness.table(("", "measured", "goal"), rows)
    print(text)
    harness.put_into(harness.RESULTS_PAGE, "data", text + harness.conditions())
    return harness.finish(
        "data",
        f"{found['filled']:.1%} filled, {found['packed_tokens_per_second'] / 1e6:.1f}M tokens/s "
        f"packed, {found['wait_share_of_step']:.2%} of a {1000 * STEP:.0f} ms step waited, step "
        f"{FAR:,} {found['far_ratio']:.2f} times as long to reach as step 0",
        f"{FILLED:.0%}, {PACKED / 1e6:.0f}M, {WAITED:.0%}, {FAR_RATIO}",
        all(met for _, met in goals.values()),
        {"figures": found, "length": LENGTH, "batch_size": BATCH},
    )


def _shown(name: str, value: float) -> str:
    if "share" in name or "filled" in name:
        return f"{value:.2%}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.4f}"


if __name__ == "__main__":
    sys.exit(main())
