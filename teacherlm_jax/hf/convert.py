"""The convert verb: Hugging Face folders to run folders, and back; annotate runs to datasets.

The source decides the direction. All headers are checked before anything is written, and an
interrupted conversion is never taken for a complete one: a run folder has no checkpoint until Orbax
has renamed it, and a Hugging Face folder gets its name, or in a bucket its config.json, last.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from etils import epath
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints import saved_model
from teacherlm_jax.checkpoints.adapter_origin import AdapterOrigin
from teacherlm_jax.checkpoints.store import Checkpoints
from teacherlm_jax.config import ConvertConfig, DatasetConfig, MeshConfig, ModelConfig
from teacherlm_jax.config.convert_config import NOT_FOR_IMPORTS
from teacherlm_jax.errors import UserError
from teacherlm_jax.hf import (
    any_model,
    config_json,
    dataset_export,
    hub,
    model_folder,
    model_path,
    peft_layout,
    save,
    tensor_names,
)
from teacherlm_jax.hf.lazy_tensor import DTYPES
from teacherlm_jax.hf.model_folder import ModelFolder
from teacherlm_jax.hf.weights import source_state, weight_digests
from teacherlm_jax.models import adapter, registry
from teacherlm_jax.runs import layout, run_folder, run_place
from teacherlm_jax.runs.console import ConsoleHandler
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files, locations
from teacherlm_jax.storage.atomic_folder import whole_or_nothing
from teacherlm_jax.storage.paths import StoragePath
from teacherlm_jax.tokenization.vocabulary import Vocabulary

_VERB, _ANNOTATE = "convert", "annotate"


def convert(config: ConvertConfig) -> None:
    """Convert `config.source` into the folder `config.output`.

    Raises UserError when the source is neither a model nor an `annotate` run or is incomplete, and
    when the output already holds something else. A conversion that is refused before it writes the
    model leaves nothing.
    """
    if not hub.is_address(config.source):
        folder = StoragePath(config.source)
        if model_folder.read_config(folder).get("verb") == _ANNOTATE:
            _refuse_adapters(config)
            dataset_export.export(config, folder, _console())
            return
    _refuse_settings_of_datasets(config)
    source, is_checkpoint = model_path.resolve(config.source)
    if is_checkpoint:
        _export(config, source)
    else:
        _refuse_adapters(config)
        _import(config, source)


def _refuse_adapters(config: ConvertConfig) -> None:
    """Raise UserError if the adapters of a source without adapters are to be exported."""
    if config.adapters != ConvertConfig.adapters:
        raise UserError(
            f"config.adapters={config.adapters}: {config.source} has no LoRA adapters; remove the "
            "key, or name a run that was trained with config.lora.rank above 0"
        )


def _refuse_settings_of_datasets(config: ConvertConfig) -> None:
    """Raise UserError if a model is to be converted with settings of datasets."""
    if hub.is_address(config.output):
        raise UserError(
            f"config.output={config.output}: only the dataset of an `annotate` run is uploaded; "
            "convert the model to a folder, then run `hf upload org/name FOLDER`"
        )
    default = DatasetConfig()
    for field in dataclasses.fields(default):
        if (value := getattr(config.dataset, field.name)) != getattr(default, field.name):
            raise UserError(
                f"config.dataset.{field.name}={value}: {config.source} is not an `annotate` run, "
                "and this key is for its dataset; remove the key, or name such a run"
            )


def _import(config: ConvertConfig, source: epath.Path) -> None:
    """Convert a Hugging Face folder to a run folder whose step 0 has no optimizer state."""
    if config.dtype == "float16":
        raise UserError(f"config.dtype: {NOT_FOR_IMPORTS}")
    opened = model_folder.open_model(source, config.dtype or "float32")
    state = source_state(source)
    abstract = _abstract(opened.config, config.mesh)
    _refuse_foreign(run_place.check_address(config.output))
    with run_folder.open_run(config.output, _VERB, config, may_change=("mesh",)) as folder:
        if folder.result is None:
            imported = _imported(folder, opened, abstract)
            folder.log.info("computing the digests of the source's weight files")
            folder.finish(imported | {"source": state, "weight_digests": weight_digests(source)})
        else:
            _refuse_other_source(folder, source, state)
            folder.log.info("%s: converted before; remove it to convert again", folder.path)


def _imported(folder: Run, opened: ModelFolder, abstract: sharding.Tree) -> dict[str, Any]:
    names = ", ".join(path.name for path in opened.weight_files[:3])
    more = len(opened.weight_files) - 3
    folder.log.info("reading %s%s", names, f" and {more} more" if more > 0 else "")
    if prefix := opened.dropped_prefix:
        folder.log.info("removed the prefix %r from tensor names", prefix)
    progress = _TensorProgress(folder.log, "read", [tensor.nbytes for _, tensor in opened.tensors])
    params = opened.parameters(abstract, progress.add)
    opened.vocabulary.save(folder.path / layout.VOCABULARY)
    folder.publish()
    if (folder.address / layout.CHECKPOINTS).exists():  # left by an interrupted conversion
        (folder.address / layout.CHECKPOINTS).rmtree()
    checkpoints = Checkpoints(folder.address, keep=1)
    model = dataclasses.asdict(opened.config)
    checkpoints.save(0, params, None, {"model": model, "vocabulary": opened.vocabulary.digest})
    checkpoints.close()
    count = sum(array.size for array in jax.tree.leaves(params))
    folder.log.info(
        "%s: %s parameters stored in %s (config.dtype); the model computes in %s unless the dtype "
        "key of a command says otherwise", folder.path, f"{count:,}", opened.config.param_dtype,
        opened.config.dtype,
    )  # fmt: skip
    return {"model": model, "parameters": count, **progress.figures()}


def _export(config: ConvertConfig, source: epath.Path) -> None:
    """Convert a checkpoint to a folder that transformers or, for adapters, PEFT loads."""
    if jax.process_count() > 1:
        raise UserError(
            f"{source}: one process writes an exported model and must see all devices of its mesh, "
            f"but {jax.process_count()} processes are running; run this on one machine"
        )
    checkpoints, step = saved_model.open_checkpoint(locations.absolute(source))
    meta, path = checkpoints.meta(step), checkpoints.path(step)
    model, origin = ModelConfig(**meta["model"]), AdapterOrigin.of(meta)
    if origin is None:
        _refuse_adapters(config)
    dtype, log = config.dtype or model.param_dtype, _console()
    if origin and config.adapters == "peft":
        mesh = sharding.make_mesh(config.mesh)
        _, abstract = adapter.split(registry.abstract(model, mesh, origin.lora)[1])
        with whole_or_nothing(config.output, log.info) as folder:
            log.info("reading the adapters of %s", path)
            adapters = checkpoints.params(step, abstract)
            peft_layout.write(adapters, model, origin, folder.path, dtype, folder.check)
        log.info(
            "%s: adapters stored in %s, for the base %s", config.output, dtype, origin.base.path
        )
    else:
        vocabulary = saved_model.load_vocabulary(checkpoints.run, meta["vocabulary"])
        _export_model(config, path, model, vocabulary, dtype, log)
    checkpoints.close()


def _export_model(
    config: ConvertConfig,
    path: epath.Path,
    model: ModelConfig,
    vocabulary: Vocabulary,
    dtype: str,
    log: logging.Logger,
) -> None:
    """Write the whole model of a checkpoint; the folder contains our vocabulary too."""
    description = config_json.described(model)
    abstract = _abstract(model, config.mesh)
    with whole_or_nothing(config.output, log.info) as folder:
        log.info("reading %s", path)
        params = any_model.parameters(path, abstract)
        width = DTYPES[dtype].itemsize
        sizes = [math.prod(slot.stored_shape) * width for slot in tensor_names.slots(model)]
        progress = _TensorProgress(log, "written", sizes)

        def on_tensor() -> None:
            progress.add()
            folder.check()

        limit = config.shard_megabytes * 10**6
        save.save(params, model, folder.path, dtype=dtype, shard_bytes=limit, on_tensor=on_tensor)
        vocabulary.save_pretrained(folder.path)
        config_json.write(folder.path, description, dtype, vocabulary)
    log.info(
        "%s: weights stored in %s (config.dtype, torch_dtype in %s), which is also the dtype that "
        "transformers computes in unless it is given another", config.output, dtype,
        config_json.FILE,
    )  # fmt: skip


def _abstract(model: ModelConfig, mesh: MeshConfig) -> sharding.Tree:
    """Shapes of the model's parameters with their places on the mesh."""
    devices = sharding.make_mesh(mesh)
    return sharding.abstract_model(lambda: registry.build(model, nnx.Rngs(0)), devices)[1]


def _refuse_foreign(output: epath.Path) -> None:
    """Raise UserError when the folder holds something other than a conversion."""
    if not output.is_dir() or not any(output.iterdir()):
        return
    if model_folder.read_config(output).get("verb") != _VERB:
        raise UserError(f"{output}: already exists; remove it, or name another folder")


def _refuse_other_source(folder: Run, source: epath.Path, state: Mapping[str, str]) -> None:
    """Raise UserError when the source's files changed since they were converted.

    Weight files with another size or time of change are read, and compared by digest.
    """
    result = folder.result or {}
    before, digests = result.get("source", {}), result.get("weight_digests", {})
    for name in sorted(before.keys() | state.keys()):
        if before.get(name) == state.get(name):
            continue
        copied = name in state and digests.get(name) == files.file_digest(source / name)
        if not copied:
            raise UserError(
                f"{source / name}: changed since it was converted into {folder.path}; remove that "
                "folder to convert again, or name another config.output"
            )


class _TensorProgress:
    """Progress lines, at most one in five seconds, and figures for the result."""

    def __init__(self, log: logging.Logger, done: str, sizes: Sequence[int]):
        """`sizes` are the bytes of all tensors in order; `done` says what happens to them."""
        self._log, self._done = log, done
        self._count, self._bytes = len(sizes), sum(sizes)
        self._left = list(reversed(sizes))
        self._start = self._last_line = time.monotonic()

    def add(self) -> None:
        """Count one more tensor."""
        self._left.pop()
        now = time.monotonic()
        if not self._left or now - self._last_line > 5:
            self._last_line = now
            gigabytes = (self._bytes - sum(self._left)) / 1e9
            self._log.info(
                "%s %d of %d tensors, %.2f of %.2f GB, %.0f s", self._done,
                self._count - len(self._left), self._count, gigabytes, self._bytes / 1e9,
                now - self._start,
            )  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """Return count, bytes and seconds for the result."""
        seconds = round(time.monotonic() - self._start, 2)
        return {"tensors": self._count, "bytes": self._bytes, "seconds": seconds}


def _console() -> logging.Logger:
    """Return a logger without a file: an exported folder is not a run folder."""
    log = logging.getLogger("teacherlm.convert")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [ConsoleHandler()]
    return log
