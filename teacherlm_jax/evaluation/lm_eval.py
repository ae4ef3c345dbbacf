"""Models in lm-evaluation-harness, the package lm_eval, which only this module needs.

    import lm_eval
    from teacherlm_jax.evaluation.lm_eval import TeacherLM

    results = lm_eval.simple_evaluate(model=TeacherLM("runs/student"), tasks=["arc_easy"])

`python -m teacherlm_jax.evaluation.lm_eval run --model teacherlm …` is the harness's own command
line, which finds the model by that name.
"""

import dataclasses
import functools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from etils import epath
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.checkpoints.saved_model import LoadedModel
from teacherlm_jax.config import MeshConfig, SamplingConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation import continuations, predictions
from teacherlm_jax.evaluation.generation_kwargs import sampling_of
from teacherlm_jax.evaluation.scoring import ScoredOption
from teacherlm_jax.generation import texts
from teacherlm_jax.generation.requests import GenerationRequest
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.hf import any_model

try:
    from lm_eval import utils
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import normalize_gen_kwargs
    from tqdm import tqdm
except ImportError as error:
    raise ModuleNotFoundError(
        f"lm-evaluation-harness cannot be imported ({error}); install it with "
        "`pip install -r requirements-lm_eval.txt` in a clone of the repository"
    ) from None

_MAX_LENGTH = 2048  # tokens, of models without learned positions, as the harness assumes
_SCORED_AT_ONCE = 2048  # contexts, after which results are cached and progress is shown

_Answer = tuple[float, bool]  # log-probability in nats, and whether it is greedy


@register_model("teacherlm")
class TeacherLM(TemplateLM):
    """A model that lm-evaluation-harness evaluates.

    Contexts and continuations are tokenized and truncated as by the harness's backend for
    transformers. Devices share every batch through the mesh, so `world_size` stays 1.

    Attributes:
        loaded: the model.
        max_length: maximum number of tokens that the model reads.
        max_gen_toks: maximum number of tokens of a text, for tasks that set no limit.
    """

    def __init__(
        self,
        model: epath.PathLike | LoadedModel,
        *,
        fsdp: int = 1,
        tensor: int = 1,
        dtype: str = "float32",
        attention: str = "",
        weights: str = "",
        max_length: int = 0,
        batch_tokens: int = 16384,
        slots: int = 64,
        max_gen_toks: int = 256,
        seed: int = 0,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ):
        """Load a model.

        Args:
            model: a run folder, a checkpoint, a Hugging Face folder or `hf://org/name`, as for
                `any_model.load`; or a model that it returned, to which the settings from `fsdp` to
                `weights` do not apply.
            fsdp: devices over which parameters and batches are sharded; batches are also sharded
                over the devices that `fsdp` and `tensor` leave.
            tensor: devices over which heads, MLP and vocabulary are sharded.
            dtype: compute dtype, "float32" or "bfloat16"; empty: as trained.
            attention: attention implementation; empty: as trained.
            weights: "int8" stores the weights in int8; empty: in `dtype`.
            max_length: maximum number of tokens that the model reads; longer contexts are
                truncated on the left. 0: its learned positions, or 2048.
            batch_tokens: approximate number of tokens per batch of a likelihood task.
            slots: texts generated at the same time, rounded up to a multiple that the mesh shards.
            max_gen_toks: maximum number of tokens of a text, for tasks that set no limit.
            seed: seed of the sampling.
            batch_size: accepted because the harness passes it; `batch_tokens` is used instead.
            max_batch_size: like `batch_size`.
            device: like `batch_size`; JAX chooses the devices, and the harness names one always.

        Raises UserError if the model cannot be loaded or a setting cannot be used.
        """
        super().__init__()
        if not isinstance(model, LoadedModel):
            mesh = sharding.make_mesh(MeshConfig(fsdp=fsdp, tensor=tensor))
            settings = {"dtype": dtype, "attention": attention, "weights": weights}
            model = any_model.load(model, mesh, **settings)
        self.loaded = model
        positions = model.config.max_positions
        if positions and max_length > positions:
            raise UserError(
                f"max_length={max_length}: the model has learned positions for {positions} tokens; "
                f"lower it to {positions} or less"
            )
        self.max_length = max_length or positions or _MAX_LENGTH
        self.max_gen_toks, self._seed = max_gen_toks, seed
        self._slots = slots
        self._scorer = predictions.scorer_of(model, batch_tokens)

    @property
    def eot_token_id(self) -> int:
        """Id that ends a text."""
        return self.loaded.vocabulary.eos_id

    @functools.cached_property
    def prefix_token_id(self) -> int:
        """Id that replaces an empty context: bos_token, or the end of a text."""
        named = self.loaded.vocabulary.named_ids()
        return named.get("bos_token", self.eot_token_id)

    @property
    def tokenizer_name(self) -> str:
        """Digest of the vocabulary, which identifies cached requests."""
        return self.loaded.vocabulary.digest

    def get_model_info(self) -> dict[str, Any]:
        """Return the model's entry in the results."""
        leaves = jax.tree.leaves(nnx.state(self.loaded.model))
        return {
            "model_num_parameters": sum(leaf.size for leaf in leaves),
            "model_dtype": self.loaded.config.dtype,
            "model_revision": str(self.loaded.step),
            "model_sha": self.loaded.digest,
        }

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        """Return the ids of a text, after the vocabulary's `begin` ids by default.

        A special token spelled in the text is encoded as plain text.
        """
        begin = () if add_special_tokens is False else self.loaded.vocabulary.begin
        return [*begin, *self.loaded.vocabulary.encode(string)]

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation, and whether it is greedy.

        The arguments of a request are a context and a continuation. A continuation is greedy if
        every token of it is the likeliest one.

        Raises UserError if a continuation has no tokens of its own or is too long, or if the model
        gives NaN.
        """
        pairs = [request.args for request in requests]
        encoded = list(continuations.encode(pairs, self.loaded.vocabulary, self.prefix_token_id))
        return self._loglikelihood_tokens(encoded, disable_tqdm=disable_tqdm)

    def _loglikelihood_tokens(
        self, requests: list[continuations.Request], disable_tqdm: bool = False
    ) -> list[_Answer]:
        """Return the answers to encoded requests."""
        answers: list[_Answer] = [(math.nan, False)] * len(requests)
        contexts = continuations.share_contexts(requests, self.max_length)
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Scoring") as bar:
            for start in range(0, len(contexts), _SCORED_AT_ONCE):
                some = contexts[start : start + _SCORED_AT_ONCE]
                scored = self._scorer.options([context.question for context in some])
                for context, options in zip(some, scored, strict=True):
                    for number, option in zip(context.numbers, options, strict=True):
                        answers[number] = self._answer(requests[number][0], option)
                    bar.update(len(options))
        return answers

    def _answer(self, pair: continuations.Pair | None, option: ScoredOption) -> _Answer:
        answer = option.total, option.greedy
        if math.isnan(answer[0]):
            raise UserError(
                f"lm_eval: the model {self.loaded.digest} gives NaN for the continuation "
                f"{pair and pair[1]!r}, so its parameters are damaged or the computation "
                "overflows; evaluate an earlier checkpoint, or copy the model again"
            )
        if pair is not None:
            self.cache_hook.add_partial("loglikelihood", pair, answer)
        return answer

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-probability of each text, in windows of `max_length` tokens."""
        windows: list[continuations.Request] = []
        owners: list[int] = []
        encoded = self.loaded.vocabulary.encode_batch([request.args[0] for request in requests])
        for owner, ids in enumerate(encoded):
            rolling = utils.get_rolling_token_windows(
                token_list=[*self.loaded.vocabulary.begin, *ids],
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for window in rolling:
                windows.append((None, *utils.make_disjoint_window(window)))
                owners.append(owner)
        parts: list[list[float]] = [[] for _ in requests]
        answers = self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm)
        for owner, (log_probability, _) in zip(owners, answers, strict=True):
            parts[owner].append(log_probability)
        totals = [math.fsum(of_text) for of_text in parts]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return a text for each request, which ends before the first stop string.

        The arguments of a request are a context and the task's `generation_kwargs`. Texts are
        greedy unless these sample. A repeated context gets a different sampled text each time.

        Raises UserError for `generation_kwargs` that are not supported.
        """
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        samplings: dict[tuple[Any, ...], SamplingConfig] = {}
        for number, request in enumerate(requests):
            sampling = sampling_of(normalize_gen_kwargs(request.args[1], self.max_gen_toks))
            key = dataclasses.astuple(sampling)
            samplings[key] = sampling
            groups[key].append(number)
        written: dict[int, str] = {}
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Generating") as bar:
            for key, numbers in groups.items():
                contexts = {number: requests[number].args[0] for number in numbers}
                for number, text in self._texts(contexts, samplings[key]):
                    self.cache_hook.add_partial("generate_until", requests[number].args, text)
                    written[number] = text
                    bar.update()
        return [written[number] for number in range(len(requests))]

    def _texts(
        self, contexts: Mapping[int, str], sampling: SamplingConfig
    ) -> Iterator[tuple[int, str]]:
        """Yield the number of each context and its text, as texts finish."""
        room = self.max_length - sampling.max_new_tokens
        if room < 1:
            raise UserError(
                f"lm_eval: max_gen_toks={sampling.max_new_tokens} leaves no room for a context in "
                f"max_length={self.max_length} tokens; lower it to less than that"
            )
        vocabulary, seen = self.loaded.vocabulary, Counter[str]()
        requests = []
        encoded = vocabulary.encode_batch(list(contexts.values()))
        for (number, context), ids in zip(contexts.items(), encoded, strict=True):
            seen[context] += 1
            key = request_key(self._seed, context, f"text {seen[context]}")
            tokens = (*vocabulary.begin, *ids)[-room:] or (self.prefix_token_id,)
            requests.append(GenerationRequest(str(number), tokens, key))
        with texts.on_mesh(self.loaded):
            shards = sharding.batch_shards(jax.sharding.get_abstract_mesh())
            slots = -(-self._slots // shards) * shards
            for completion in texts.complete(self.loaded, requests, sampling, slots=slots):
                yield int(completion.id), texts.text_of(vocabulary, completion, sampling)


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
