"""The engine, compared with texts generated one by one, and its edge cases."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig, ModelConfig, SamplingConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation import engine as engine_module
from teacherlm_jax.generation.engine import Engine
from teacherlm_jax.generation.requests import Completion, GenerationRequest
from teacherlm_jax.generation.running_texts import RunningTexts
from teacherlm_jax.generation.sampling import request_key, sample
from teacherlm_jax.generation.slot_counts import SlotCounts
from teacherlm_jax.models import registry

EOS = 1
NEW = 24
ENTRIES = 64  # of the cache for prompts of 30 tokens: 54, rounded up
SAMPLING = SamplingConfig(temperature=1.0, top_k=12, top_p=0.95, max_new_tokens=NEW)


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(
        layers=2, width=32, heads=4, vocab_size=32, dtype="float32", initializer_range=0.1
    )
    return registry.build(config, nnx.Rngs(0))


@pytest.fixture(scope="module")
def requests():
    rng = np.random.default_rng(0)
    lengths = [1, 30, 16, 17, 3, 5, 8, 22, 2, 11, 29, 4, 7]
    return [
        GenerationRequest(
            str(n), tuple(rng.integers(2, 32, length).tolist()), request_key(0, str(n), "cot")
        )
        for n, length in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def engine(model):
    return Engine(model, slots=4, prompt_length=30, sampling=SAMPLING, eos_id=EOS, steps_per_sync=5)


@pytest.fixture(scope="module")
def naive(model, requests):
    """Texts that are generated one by one, with a full forward pass per token."""
    graph, state = nnx.split(model)
    forward = jax.jit(lambda state, tokens: nnx.merge(graph, state)(tokens))

    def write(request):
        tokens, written = list(request.tokens), []
        while len(written) < NEW:
            row = np.zeros((1, 64), np.int32)
            row[0, : len(tokens)] = tokens
            logits = forward(state, row)[:, len(tokens) - 1]
            key, counter = jnp.asarray(request.key)[None], jnp.array([len(written)])
            token = int(sample(logits, key, counter, SAMPLING, eos_id=EOS)[0])
            if token == EOS:
                return Completion(request.id, tuple(written), "eos")
            written.append(token)
            tokens.append(token)
        return Completion(request.id, tuple(written), "length")

    return {request.id: write(request) for request in requests}


def _by_id(completions):
    completions = list(completions)
    actual = {completion.id: completion for completion in completions}
    assert len(actual) == len(completions)
    return actual


def test_texts_equal_those_generated_one_by_one_with_full_forward_passes(engine, requests, naive):
    assert _by_id(engine.generate(requests)) == naive
    reasons = {completion.finish_reason for completion in naive.values()}
    assert reasons == {"eos", "length"}  # both reasons occur


@pytest.mark.parametrize("slots", [1, 16])
def test_texts_do_not_depend_on_the_number_of_slots(model, requests, naive, slots):
    other = Engine(model, slots=slots, prompt_length=30, sampling=SAMPLING, eos_id=EOS)
    assert _by_id(other.generate(requests)) == naive


def test_texts_do_not_depend_on_order_or_neighbours(engine, requests, naive):
    assert _by_id(engine.generate(reversed(requests))) == naive
    assert _by_id(engine.generate(requests[3:5])) == {n: naive[n] for n in ("3", "4")}


def test_texts_of_a_sharded_model_are_the_same(model, requests, naive):
    graph, state = nnx.split(model)
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        sharded = nnx.merge(graph, jax.device_put(state, sharding.state_shardings(state, mesh)))
        engine = Engine(sharded, slots=8, prompt_length=30, sampling=SAMPLING, eos_id=EOS)
        assert _by_id(engine.generate(requests)) == naive
        with pytest.raises(UserError, match=r"config\.slots=6: expected a positive multiple of 4"):
            Engine(sharded, slots=6, prompt_length=30, sampling=SAMPLING, eos_id=EOS)


@pytest.mark.parametrize("temperature", [0.0, 100.0])
def test_ids_outside_drawable_are_never_sampled(model, requests, temperature):
    settings = SamplingConfig(temperature=temperature, top_k=0, max_new_tokens=NEW)
    drawable = range(EOS, 9)  # of 32 rows, which are equally likely at 100
    engine = Engine(
        model, slots=4, prompt_length=30, sampling=settings, eos_id=EOS, drawable=drawable
    )
    drawn = {token for text in engine.generate(requests) for token in text.tokens}
    assert drawn <= set(drawable)
    assert temperature == 0 or drawn == set(drawable) - {EOS}


def test_slots_are_95_per_cent_busy_until_no_request_is_waiting(model, monkeypatch):
    engine = Engine(
        model,
        slots=24,
        prompt_length=8,
        sampling=SamplingConfig(temperature=100.0, top_k=0, max_new_tokens=128),
        eos_id=EOS,
        drawable=range(EOS, EOS + 24),  # one token in 24 ends a text
    )
    decoded, sampled, steps, waiting = engine._decoded, [], [], [True]

    def counted(slots, running):
        before = np.asarray(slots.cache.lengths)
        after = decoded(slots, running)
        new = np.asarray(after.cache.lengths) - before
        if waiting[0]:
            sampled.append(int(new.sum()))
            steps.append(int(new.max()))
        return after

    def prompts():
        for n in range(300):
            yield GenerationRequest(str(n), (3, 4), request_key(0, str(n), "cot"))
        waiting[0] = False

    monkeypatch.setattr(engine, "_decoded", counted)
    lengths = [len(text.tokens) for text in engine.generate(prompts())]
    assert max(lengths) > 3 * sum(lengths) / len(lengths)
    assert sum(sampled) > 0.95 * 24 * sum(steps)


@pytest.mark.parametrize("members", [2, 3])
def test_prompts_with_a_common_prefix_give_the_texts_of_whole_prompts(model, requests, members):
    rng = np.random.default_rng(1)
    families = []
    for request in requests:
        for kind in range(int(rng.integers(1, 4))):
            tokens = (*request.tokens, *rng.integers(2, 32, kind + 2).tolist())
            id = f"{request.id}/{kind}"
            families.append(
                GenerationRequest(id, tokens, request_key(0, id, "cot"), len(request.tokens))
            )
    settings = {"slots": 6, "prompt_length": 34, "sampling": SAMPLING, "eos_id": EOS}
    alone = [dataclasses.replace(request, prefix=0) for request in families]
    expected = _by_id(Engine(model, **settings).generate(alone))
    engine = Engine(model, members=members, **settings)
    assert _by_id(engine.generate(families)) == expected
    some = [families[n] for n in range(0, len(families), 2)]
    assert _by_id(engine.generate(some)) == {text.id: expected[text.id] for text in some}


def test_several_texts_of_one_prompt_fork_its_cache(model, requests, naive):
    prompt = requests[1]
    twice = [
        dataclasses.replace(prompt, prefix=len(prompt.tokens)),
        GenerationRequest("other", prompt.tokens, request_key(1, "1", "cot"), len(prompt.tokens)),
    ]
    engine = Engine(model, slots=2, prompt_length=30, sampling=SAMPLING, eos_id=EOS, members=2)
    both = _by_id(engine.generate(twice))
    assert both["1"] == naive["1"]
    assert both["other"].tokens != naive["1"].tokens


@pytest.mark.parametrize("steps_per_sync", [1, 32])
def test_a_text_ends_at_the_first_token_that_completes_a_stop_string(
    model, requests, naive, steps_per_sync
):
    def stopped(tokens):
        return any(5 <= token < 12 for token in tokens[1:])

    def cut(text):
        ends = [n for n in range(1, len(text.tokens) + 1) if stopped(text.tokens[:n])]
        return Completion(text.id, text.tokens[: ends[0]], "stop") if ends else text

    engine = Engine(
        model,
        slots=4,
        prompt_length=30,
        sampling=SAMPLING,
        eos_id=EOS,
        stopped=stopped,
        steps_per_sync=steps_per_sync,
    )
    expected = {id: cut(text) for id, text in naive.items()}
    assert _by_id(engine.generate(requests)) == expected
    assert {text.finish_reason for text in expected.values()} >= {"stop"}


def test_a_request_can_have_a_limit_of_its_own(model, requests, naive):
    limited = [dataclasses.replace(request, most=n + 1) for n, request in enumerate(requests)]
    engine = Engine(model, slots=4, prompt_length=30, sampling=SAMPLING, eos_id=EOS)
    texts = _by_id(engine.generate(limited))
    for request in limited:
        whole = naive[request.id].tokens
        assert texts[request.id].tokens == whole[: request.most]
        assert (texts[request.id].finish_reason == "eos") == (len(whole) < request.most)


def test_every_program_is_compiled_once_and_reported(model, requests):
    lines = []
    engine = Engine(
        model, slots=4, prompt_length=30, sampling=SAMPLING, eos_id=EOS, say=lines.append
    )
    list(engine.generate(requests))
    list(engine.generate(requests))
    programs = sorted(re.sub(r" in [\d.]+ s$", "", line) for line in lines)
    assert programs == [
        "compiled decode with 4 slots and 64 entries",
        "compiled prefill of 1 prompt of 32 tokens",
    ]


def test_completions_are_handed_out_while_the_device_generates(model, requests, monkeypatch):
    engine = Engine(model, slots=2, prompt_length=30, sampling=SAMPLING, eos_id=EOS)
    decoded, calls = engine._decoded, [0]

    def counted(*arguments):
        calls[0] += 1
        return decoded(*arguments)

    monkeypatch.setattr(engine, "_decoded", counted)
    collected = RunningTexts.collect
    at_collection = []

    def collect(self, slots):
        at_collection.append(calls[0])
        return collected(self, slots)

    monkeypatch.setattr(RunningTexts, "collect", collect)
    seen = [calls[0] - at_collection[-1] for _ in engine.generate(requests)]
    assert set(seen[:-2]) == {1}, "the next steps were sent to the device before"


def test_a_finished_text_is_yielded_before_all_requests_are_read(engine, requests):
    read = []

    def reading():
        for request in requests:
            read.append(request.id)
            yield request

    next(engine.generate(reading()))
    assert len(read) < len(requests)


def test_no_requests_give_no_completions(engine):
    assert list(engine.generate([])) == []


def test_a_text_of_one_token_comes_from_the_prefill_alone(model, requests, naive):
    short = SamplingConfig(temperature=1.0, top_k=12, top_p=0.95, max_new_tokens=1)
    engine = Engine(model, slots=4, prompt_length=30, sampling=short, eos_id=EOS)
    for completion in engine.generate(requests[4:7]):  # of one bucket
        assert completion.tokens == naive[completion.id].tokens[:1]


def test_a_prompt_that_is_too_long_is_refused_with_its_id_and_both_numbers(engine):
    request = GenerationRequest("row 7", (3,) * 31, request_key(0, "row 7", "cot"))
    with pytest.raises(
        UserError, match="request row 7: its prompt has 31 tokens, expected 1 to 30"
    ):
        list(engine.generate([request]))


def test_an_empty_prompt_is_refused(engine):
    with pytest.raises(UserError, match="request x: its prompt has 0 tokens"):
        list(engine.generate([GenerationRequest("x", (), request_key(0, "x", "cot"))]))


def test_texts_beyond_the_learned_positions_are_refused_before_generation():
    config = ModelConfig("opt", 1, 8, 2, vocab_size=32, max_positions=40)
    opt = registry.build(config, nnx.Rngs(0))
    with pytest.raises(UserError, match="max_new_tokens=24: prompts of up to 17 tokens .* 41"):
        Engine(opt, slots=1, prompt_length=17, sampling=SAMPLING, eos_id=EOS)
    Engine(opt, slots=1, prompt_length=16, sampling=SAMPLING, eos_id=EOS)


def test_the_programs_of_an_engine_compile_without_running_it(model, engine):
    prefill, decode = engine.programs()
    assert prefill.name == "prefill of 1 prompt of 30 tokens"
    assert decode.name == "decode with 4 slots and 64 entries"
    for program in (prefill, decode):
        sizes = program.lowered.compile().memory_analysis()
        cache = 2 * 2 * 4 * ENTRIES * 32 * 4  # keys and values of two layers in four slots
        assert sizes.alias_size_in_bytes >= cache, "the cache is updated in place"
        copied = re.findall(r"= f32\[2,4,64,32\]\S* copy\(", program.lowered.compile().as_text())
        assert not copied


def test_the_programs_of_a_model_of_shapes_are_placed_on_its_mesh(model):
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    with jax.set_mesh(mesh):
        graph, shapes = sharding.abstract_model(
            lambda: registry.build(
                ModelConfig(layers=2, width=32, heads=4, vocab_size=32, dtype="float32"),
                nnx.Rngs(0),
            ),
            mesh,
        )
        abstract = nnx.merge(graph, shapes)
        engine = Engine(abstract, slots=8, prompt_length=16, sampling=SAMPLING, eos_id=EOS)
        compiled = engine.programs()[1].lowered.compile()
    cache = 2 * 2 * 8 * (16 + NEW) * 32 * 4
    assert cache / 8 <= compiled.memory_analysis().alias_size_in_bytes < cache / 4


def _sampled(completion):
    """Number of sampled tokens: those of the text, and the one that ended it."""
    return len(completion.tokens) + (completion.finish_reason == "eos")


def test_counts_give_the_tokens_and_the_share_of_busy_slots(model, requests):
    settings = {"slots": 4, "prompt_length": 30, "sampling": SAMPLING, "eos_id": EOS}
    engine = Engine(model, steps_per_sync=5, **settings)
    completions = list(engine.generate(requests))
    counts = engine.counts.copy()
    assert counts.prompts == len(requests)
    assert counts.tokens == sum(map(_sampled, completions))
    assert 0.5 < counts.busy < 1
    assert counts.compile_seconds > 0
    (alone,) = engine.generate(requests[:1])
    added = engine.counts.since(counts)
    assert (added.prompts, added.prefills) == (1, 1)
    assert added.busy_steps == _sampled(alone) - 1 > 0
    assert added.slot_steps == 4 * added.busy_steps  # one slot of four
    assert added.busy == 0.25


def test_engines_share_counts(model, requests):
    counts = SlotCounts()
    for part in (requests[:3], requests[3:7]):
        engine = Engine(
            model, slots=4, prompt_length=30, sampling=SAMPLING, eos_id=EOS, counts=counts
        )
        list(engine.generate(part))
    assert counts.prompts == 7


def test_a_generation_ends_when_the_caller_has_enough(model, requests):
    engine = Engine(
        model, slots=4, prompt_length=30, sampling=SAMPLING, eos_id=EOS, steps_per_sync=5
    )
    seen = []

    def enough():
        seen.append(engine.counts.copy())
        return len(seen) == 3

    read = []
    completions = list(engine.generate((read.append(one) or one for one in requests), enough))
    assert len(seen) == 3
    assert seen[1].since(seen[0]).slot_steps <= 4 * 5
    assert len(completions) < len(requests)
    assert engine.counts.prompts < len(requests)


@pytest.mark.parametrize(("longest", "entries"), [(24, 48), (25, 64), (40, 64), (41, 80)])
def test_prompts_that_are_nearly_as_long_have_one_size_of_cache(model, longest, entries):
    engine = Engine(model, slots=2, prompt_length=longest, sampling=SAMPLING, eos_id=EOS)
    assert engine.cache_length == entries


@pytest.mark.parametrize(
    ("members", "continued", "reads", "windows"),
    [
        (1, "", True, (192, 384)),
        (1, "", False, (384,)),
        (2, ", each continued 2 times", True, (192, 384)),
        (3, ", each continued 3 times", True, (192, 384)),
    ],
)
def test_the_names_of_all_programs_are_known_before(
    model, monkeypatch, members, continued, reads, windows
):
    monkeypatch.setattr(engine_module, "reads_windows", lambda: reads)
    lines = []
    sampling = dataclasses.replace(SAMPLING, max_new_tokens=300, min_new_tokens=280)
    engine = Engine(
        model,
        slots=3,
        prompt_length=70,
        sampling=sampling,
        eos_id=EOS,
        members=members,
        say=lines.append,
    )
    lengths = [3, 65, 70]
    names = engine.program_names([length - 1 for length in lengths], min(lengths))
    assert names == [
        f"prefill of 1 prompt of 32 tokens{continued}",
        f"prefill of 1 prompt of 64 tokens{continued}",
        f"prefill of 1 prompt of 128 tokens{continued}",
        *(f"decode with 3 slots and {window} entries" for window in windows),
    ]
    for length in lengths:  # one by one, so that short texts have windows of their own
        prefix = (3,) * (length - 1)
        family = [
            GenerationRequest(f"{kind}", (*prefix, 4 + kind), request_key(0, f"{kind}", "cot"))
            for kind in range(members)
        ]
        shared = [dataclasses.replace(one, prefix=length - 1) for one in family]
        assert len(list(engine.generate(shared))) == members
    assert engine.counts.prefills == len(lengths), "prompts of one sample are read together"
    assert {re.sub(r"^compiled | in [\d.]+ s$", "", line) for line in lines} == set(names)


def test_the_memory_of_an_engine_is_that_of_its_parameters_and_slots(model, engine):
    parameters, slots = engine.bytes_per_device()
    assert parameters == sum(leaf.nbytes for leaf in jax.tree.leaves(nnx.split(model)[1]))
    cache = 2 * 2 * 4 * ENTRIES * 32 * 4  # keys and values, layers, slots, entries, width, bytes
    assert cache < slots < 1.1 * cache


class _Fed:
    """Requests that grow: each completion adds the next part of them."""

    def __init__(self, parts):
        self._parts = [list(part) for part in parts]
        self._ready = self._parts.pop(0)

    def __iter__(self):
        return self

    def __next__(self):
        if not self._ready:
            raise StopIteration
        return self._ready.pop(0)

    def add(self):
        if self._parts:
            self._ready += self._parts.pop(0)


@pytest.mark.parametrize("slots", [1, 4])
def test_requests_that_depend_on_completions_are_generated_too(model, requests, naive, slots):
    counts = SlotCounts()
    engine = Engine(
        model, slots=slots, prompt_length=30, sampling=SAMPLING, eos_id=EOS, counts=counts
    )
    fed = _Fed([requests[:3], *([request] for request in requests[3:])])
    completions = {}
    for completion in engine.generate(fed):
        completions[completion.id] = completion
        fed.add()
    assert completions == naive


def test_a_family_with_more_prompts_than_slots_is_generated(model):
    requests = [
        GenerationRequest(f"{n}", (5, 6, 7, n + 8), request_key(0, f"{n}", "cot"), prefix=3)
        for n in range(5)
    ]
    texts = {}
    for slots in (2, 5):
        engine = Engine(
            model, slots=slots, prompt_length=30, sampling=SAMPLING, eos_id=EOS, members=5
        )
        texts[slots] = _by_id(engine.generate(requests))
    assert texts[2] == texts[5]
    assert len(texts[2]) == 5
