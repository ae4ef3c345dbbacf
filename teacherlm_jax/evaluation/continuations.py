"""Continuations of contexts as token ids, truncated as lm-evaluation-harness does."""

import dataclasses
import itertools
import reprlib
from collections.abc import Iterator, Sequence

from teacherlm_jax.errors import UserError
from teacherlm_jax.evaluation.tokenized import TokenizedQuestion, Tokenizer

_ENCODED_AT_ONCE = 1024  # pairs
_MOST_OPTIONS = 16  # continuations that are scored together after one context

Pair = tuple[str, str]  # a context and its continuation
Request = tuple[Pair | None, Sequence[int], Sequence[int]]  # ids of context and continuation


@dataclasses.dataclass(frozen=True)
class SharedContext:
    """Continuations of one context.

    Attributes:
        question: ids of the context, and of the continuations as its options.
        numbers: number of the request of each option.
    """

    question: TokenizedQuestion
    numbers: tuple[int, ...]


def encode(pairs: Sequence[Pair], vocabulary: Tokenizer, prefix_id: int) -> Iterator[Request]:
    """Yield the ids of contexts and continuations, which are tokenized together.

    A continuation is what follows the ids of its context, and white space at the end of the context
    belongs to it. `prefix_id` replaces an empty context.
    """
    for start in range(0, len(pairs), _ENCODED_AT_ONCE):
        some = pairs[start : start + _ENCODED_AT_ONCE]
        both = [(context.rstrip(), context + continuation) for context, continuation in some]
        wanted = list(dict.fromkeys(itertools.chain.from_iterable(both)))
        ids = dict(zip(wanted, vocabulary.encode_batch(wanted), strict=True))
        for pair, (context, whole) in zip(some, both, strict=True):
            read = (*vocabulary.begin, *ids[context]) if pair[0] else ()
            yield pair, read or (prefix_id,), ids[whole][len(ids[context]) :]


def share_contexts(requests: Sequence[Request], max_length: int) -> list[SharedContext]:
    """Return requests with equal contexts together, those with the longest contexts first.

    Contexts are truncated on the left, each for its own continuation, so that the model reads at
    most `max_length` tokens. A context is shared if it is longer than the continuation.

    Raises UserError if a continuation has no tokens, or more than `max_length`.
    """
    contexts: list[tuple[int, ...]] = []
    members: list[list[tuple[int, tuple[int, ...]]]] = []
    open_at: dict[tuple[int, ...], int] = {}  # index of the context that takes more continuations
    for number, request in enumerate(requests):
        context, continuation = _truncated(request, max_length)
        shared = len(continuation) < len(context)
        at = open_at.get(context) if shared else None
        if at is None or len(members[at]) == _MOST_OPTIONS:
            at = len(contexts)
            contexts.append(context)
            members.append([])
            if shared:
                open_at[context] = at
        members[at].append((number, continuation))
    both = sorted(zip(contexts, members, strict=True), key=lambda pair: -len(pair[0]))
    return [
        SharedContext(
            TokenizedQuestion(context, tuple(continuation for _, continuation in own)),
            tuple(number for number, _ in own),
        )
        for context, own in both
    ]


def _truncated(request: Request, max_length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the end of the context that the model can read, and the continuation."""
    pair, context, continuation = request
    shown = reprlib.repr(pair[1]) if pair else "a window of a text"
    if not continuation:
        raise UserError(
            f"lm_eval: the continuation {shown} has no token of its own after its context; change "
            "the task's doc_to_choice or target_delimiter"
        )
    room = max_length + 1 - len(continuation)
    if room < 1:
        raise UserError(
            f"lm_eval: the continuation {shown} has {len(continuation)} tokens, but max_length is "
            f"{max_length}; raise it, or remove the document from the task"
        )
    return tuple(context[-room:]), tuple(continuation)
