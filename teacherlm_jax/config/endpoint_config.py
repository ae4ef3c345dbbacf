"""Settings of teachers on an OpenAI-compatible server."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from teacherlm_jax.config.fields import WEB, at_least, choice, number, plain

_EXAMPLE = "http://localhost:8000/v1#my-teacher"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_STOPS = 4  # of the OpenAI API


@dataclasses.dataclass(frozen=True)
class EndpointAddress:
    """The address of a teacher, `BASE_URL#MODEL`.

    Attributes:
        base_url: URL that `/completions` is added to, such as http://localhost:8000/v1.
        model: name of the model on the server.
    """

    base_url: str
    model: str

    @classmethod
    def of(cls, name: str) -> "EndpointAddress":
        """Return the address that a teacher's name is; see `is_endpoint`."""
        base_url, _, model = name.partition("#")
        return cls(base_url.rstrip("/"), model)


def is_endpoint(name: str) -> bool:
    """Return whether a teacher's name is the address of a server, and not a path."""
    return name.startswith(WEB)


def address_problem(name: str) -> str:
    """Return the problem with the address of a teacher; empty if it is valid.

    The message does not repeat an address that may contain a password.
    """
    base_url, _, model = name.partition("#")
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError as error:
        return f"not a URL ({error}); expected an address such as {_EXAMPLE}"
    if parts.username is not None or parts.password is not None:
        return (
            "the address contains a user or a password, which would be recorded; put the key in "
            "the environment variable that endpoint.key_variable names"
        )
    if parts.query:
        return f"the address has a query, which is not supported; expected one such as {_EXAMPLE}"
    if not parts.hostname:
        return f"{name}: no host; expected an address such as {_EXAMPLE}"
    if not model:
        return f"{name}: names no model; add its name on the server, as in {_EXAMPLE}"
    return ""


@dataclasses.dataclass
class EndpointConfig:
    """Requests to teachers on an OpenAI-compatible server."""

    api: str = choice(
        *("openai", "vllm"),
        help="API of the server, which decides the sampling settings that it gets: 'openai' sends "
        "temperature, top_p, max_new_tokens, up to four stop strings and a seed for each request; "
        "'vllm' also sends top_k, min_p, repetition_penalty, min_new_tokens and any number of stop "
        "strings. Any other setting is an error",
    )
    key_variable: str = plain(
        "OPENAI_API_KEY",
        help="environment variable that holds the API key, which is never written to a file; a "
        "server without keys needs none",
    )
    concurrency: int = at_least(1, 16, help="requests in flight at the same time")
    requests_per_minute: int = at_least(
        0, 0, help="maximum number of requests sent per minute by each process; 0: no limit"
    )
    tokens_per_minute: int = at_least(
        0,
        0,
        help="maximum number of tokens per minute, of prompts and texts together, by each process; "
        "0: no limit",
    )
    timeout: float = number(
        600.0, limits="(0, inf)", help="longest wait for the server's answer, in seconds"
    )
    retries: int = at_least(
        0,
        12,
        help="how often a request is retried after a transient error (status 408, 409, 429 or 5xx, "
        "a timeout, a broken connection or an incomplete answer). Waits grow to 8 seconds, or are "
        "as long as the header Retry-After says; more than two minutes end the run",
    )
    prompt_price: float = at_least(0, 0.0, help="price of a million tokens of prompts")
    completion_price: float = at_least(0, 0.0, help="price of a million tokens of texts")
    max_cost: float = at_least(
        0,
        0.0,
        help="cost at which the run stops before it sends another request; raise it to resume. 0: "
        "no limit. Each process counts the texts on disk when it starts, and its own requests",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield (key, problem) for invalid combinations of values."""
        if not _VARIABLE.fullmatch(self.key_variable):  # it may be a key, so it is not shown
            problem = "not the name of an environment variable; put the key in a variable"
            yield "key_variable", f"{problem} and its name here, as in OPENAI_API_KEY"
        if self.max_cost and not (self.prompt_price or self.completion_price):
            yield (
                "max_cost",
                f"{self.max_cost}, but both prices are 0; set prompt_price and completion_price",
            )


# Settings of the sampling with the names of the fields in which requests carry them; `stop` is also
# sent, if there are any.
OPENAI_FIELDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_new_tokens": "max_tokens",
}
VLLM_FIELDS = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "min_new_tokens": "min_tokens",
}
# The values that turn off settings which not every server has.
_OFF = {
    "top_k": 0,
    "min_p": 0,
    "repetition_penalty": 1,
    "no_repeat_ngram": 0,
    "min_new_tokens": 0,
}


def sampling_problems(sampling: Any, api: str) -> Iterator[tuple[str, str]]:
    """Yield (key, problem) for each setting of a SamplingConfig that requests cannot carry.

    `api` is a value of `EndpointConfig.api`.
    """
    for key, off in _OFF.items():
        value = getattr(sampling, key)
        if value == off or (key in VLLM_FIELDS and api == "vllm"):
            continue
        remedy = f"set it to {off}"
        if key in VLLM_FIELDS:
            remedy += ", or set endpoint.api='vllm' if the server is vLLM"
        yield key, f"{value}, but requests to a teacher on a server have no such field; {remedy}"
    if api == "openai" and len(sampling.stop) > _MOST_STOPS:
        problem = f"{len(sampling.stop)} strings, but the OpenAI API takes at most {_MOST_STOPS}"
        yield "stop", f"{problem}; leave some out, or set endpoint.api='vllm' if the server is vLLM"
