"""The convert verb: a folder of Hugging Face's layout to a run folder of ours, or back.

What the source is decides the direction. Nothing is written before all headers were checked, and
nothing that an interrupted conversion leaves is taken for a whole one: an import has no checkpoint
until Orbax has renamed it, an export lies under another name until its last file is there.
"""

import dataclasses
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import store
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import ConvertConfig, MeshConfig, ModelConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import config_json, load, save, tensor_check, tensor_names
from teacherlm_jax.hf.atomic_folder import whole_or_nothing
from teacherlm_jax.hf.lazy_tensor import DTYPES, Stored
from teacherlm_jax.hf.tensor_names import Piece
from teacherlm_jax.hf.weights import holds_weights, open_weights, source_state
from teacherlm_jax.models import registry
from teacherlm_jax.runs import layout, run_folder
from teacherlm_jax.storage import files
from teacherlm_jax.tokenization.vocabulary import Vocabulary, open_vocabulary

_VERB = "convert"


def convert(config: ConvertConfig) -> None:
    """Converts `config.source` into the folder `config.output`.

    Raises UserError, by name, for a source that is neither layout or is not whole, and for an
    output that holds something else already.
    """
    source = Path(config.source)
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; name one of Hugging Face's layout, or a run's")
    if _is_ours(source):
        _export(config, source)
    elif (source / config_json.FILE).exists() or holds_weights(source):
        _import(config, source)
    else:
        raise UserError(
            f"{source}: not a model; expected a folder with {config_json.FILE} and weights, or a "
            f"run folder with {layout.CHECKPOINTS}/"
        )


def _is_ours(source: Path) -> bool:
    """Whether the folder is a run's or a checkpoint's: in doubt, config.json tells."""
    described = _described(source)
    if "model_type" in described:
        return False
    whole = source.absolute()  # "0" and "." have names and parents, too
    is_step = whole.parent.name == layout.CHECKPOINTS and whole.name.isdigit()
    return is_step or "verb" in described or (source / layout.CHECKPOINTS).is_dir()


def _import(config: ConvertConfig, source: Path) -> None:
    """Theirs to ours: a run folder whose step 0 has parameters and no optimiser."""
    if config.dtype == "float16":
        raise UserError(
            "config.dtype=float16: parameters here are float32, which holds every float16, or "
            "bfloat16; choose one of them"
        )
    model = config_json.read(source, config.dtype or "float32")
    vocabulary = open_vocabulary(source)
    if vocabulary.size > model.vocab_size:
        raise UserError(
            f"{source}: the tokenizer has {vocabulary.size} ids, the embedding only "
            f"{model.vocab_size} (vocab_size in {config_json.FILE}); copy both from one place"
        )
    config_json.refuse_other_ids(source, vocabulary)
    pairs = tensor_check.matched(source, model, open_weights(source))
    state = source_state(source)
    abstract = _abstract(model, config.mesh)
    _refuse_foreign(Path(config.output))
    with run_folder.open_run(config.output, _VERB, config, may_change=("mesh",)) as folder:
        if folder.result is None:
            result = _imported(folder, model, vocabulary, pairs, abstract)
            folder.finish(result | {"source": state})
        else:
            _refuse_other_source(folder, source, state)
            folder.log.info("%s: converted before; remove it to do it again", folder.path)


def _imported(
    folder: run_folder.Run,
    model: ModelConfig,
    vocabulary: Vocabulary,
    pairs: list[tuple[Piece, Stored]],
    abstract: sharding.Tree,
) -> dict[str, Any]:
    progress = _Progress(folder.log, "read", [tensor.nbytes for _, tensor in pairs])
    params = load.load(pairs, abstract, progress.add)
    vocabulary.save(folder.path / layout.VOCABULARY)
    if (folder.path / layout.CHECKPOINTS).exists():  # of one that was stopped before its result
        shutil.rmtree(folder.path / layout.CHECKPOINTS)
    checkpoints = Checkpoints(folder.path, keep=1)
    meta = {"model": dataclasses.asdict(model), "vocabulary": vocabulary.digest}
    checkpoints.save(0, params, None, meta)
    checkpoints.close()
    count = sum(array.size for array in jax.tree.leaves(params))
    folder.log.info("%s: %s parameters in %s", folder.path, f"{count:,}", model.param_dtype)
    return {"model": meta["model"], "parameters": count, **progress.figures()}


def _export(config: ConvertConfig, source: Path) -> None:
    """Ours to theirs: a folder that transformers loads, with our `vocabulary.json` in it."""
    if jax.process_count() > 1:
        raise UserError(
            f"{source}: is written by one process, which must see all devices of its mesh; run "
            f"this on one machine, found {jax.process_count()} processes"
        )
    checkpoints, step = store.open_checkpoint(os.path.abspath(source))
    meta = checkpoints.meta(step)
    model = ModelConfig(**meta["model"])
    description = config_json.described(model)
    vocabulary = store.load_vocabulary(checkpoints.run, meta["vocabulary"])
    dtype = config.dtype or model.param_dtype
    abstract = _abstract(model, config.mesh)
    log = _console()
    with whole_or_nothing(Path(config.output)) as folder:
        log.info("reading %s", checkpoints.path(step))
        params = checkpoints.params(step, abstract)
        checkpoints.close()
        sizes = [
            math.prod(piece.theirs) * DTYPES[dtype].itemsize for piece in tensor_names.pieces(model)
        ]
        progress = _Progress(log, "written", sizes)
        limit = config.shard_megabytes * 10**6
        save.save(params, model, folder, dtype=dtype, shard_bytes=limit, told=progress.add)
        vocabulary.save_pretrained(folder)
        config_json.write(folder, description, dtype, vocabulary)
    log.info("%s: done", config.output)


def _abstract(model: ModelConfig, mesh: MeshConfig) -> sharding.Tree:
    """The model's parameters as shapes with their places on the mesh."""
    devices = sharding.make_mesh(mesh)
    return sharding.abstract_model(lambda: registry.build(model, nnx.Rngs(0)), devices)[1]


def _refuse_foreign(output: Path) -> None:
    """UserError for a folder in which something else than a conversion lies."""
    if output.is_dir() and any(output.iterdir()) and _described(output).get("verb") != _VERB:
        raise UserError(f"{output}: is there already; remove it, or name another folder")


def _refuse_other_source(folder: run_folder.Run, source: Path, state: Mapping[str, str]) -> None:
    """UserError when a finished conversion was made from other files than are there now."""
    before = (folder.result or {}).get("source", {})
    for name in sorted(before.keys() | state.keys()):
        if before.get(name) != state.get(name):
            raise UserError(
                f"{source / name}: is not what was converted into {folder.path}; remove that "
                "folder to do it again, or name another"
            )


def _described(folder: Path) -> Mapping[str, Any]:
    """The folder's config.json; empty where there is none that can be read."""
    try:
        found = files.read_json(folder / config_json.FILE)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


class _Progress:
    """Lines of progress, at most one in five seconds, and the figures in the end."""

    def __init__(self, log: logging.Logger, done: str, sizes: Sequence[int]):
        """`sizes` are the bytes of all tensors to come; `done` is what happens to them."""
        self._log, self._done = log, done
        self._count, self._bytes = len(sizes), sum(sizes)
        self._left = list(reversed(sizes))
        self._start = self._told = time.monotonic()

    def add(self) -> None:
        """One more tensor is done."""
        self._left.pop()
        now = time.monotonic()
        if not self._left or now - self._told > 5:
            self._told = now
            gigabytes = (self._bytes - sum(self._left)) / 1e9
            self._log.info(
                "%s %d of %d tensors, %.2f of %.2f GB, %.0f s", self._done,
                self._count - len(self._left), self._count, gigabytes, self._bytes / 1e9,
                now - self._start,
            )  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """For the result."""
        seconds = round(time.monotonic() - self._start, 2)
        return {"tensors": self._count, "bytes": self._bytes, "seconds": seconds}


def _console() -> logging.Logger:
    """A log without a file: a folder for transformers is no run folder."""
    log = logging.getLogger("teacherlm.convert")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [logging.StreamHandler(sys.stdout)]
    return log
