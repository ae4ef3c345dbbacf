"""Requests to an OpenAI-compatible server, by the client library `openai`, which tries again.

The API key comes from the environment and is removed from everything that a server says.
"""

import dataclasses
import hashlib
import json
import os
import re
import types
from collections.abc import Mapping
from typing import Any

from anyio.from_thread import start_blocking_portal

from teacherlm_jax.annotation.endpoint.request_pace import RequestPace
from teacherlm_jax.annotation.explanation_prompts import estimated_tokens
from teacherlm_jax.config import EndpointConfig, SamplingConfig
from teacherlm_jax.config.endpoint_config import OPENAI_FIELDS, VLLM_FIELDS, EndpointAddress
from teacherlm_jax.errors import UserError, one_line

REFUSED = "refused"  # finish reason of a text that the server did not write
_NO_KEY = "EMPTY"  # sent if no key is set; servers without keys ignore it
_REFUSING = (400, 413, 422)  # status codes of a request that the server cannot answer
_NO_LIST = (404, 405, 501)  # of a server without a list of models
_IDENTITY = ("id", "owned_by", "root", "parent")  # of a model on a server, in a list of models
_KEY = re.compile(r"[!-~]*")
_LONGEST_DETAIL = 300  # characters of a server's message


@dataclasses.dataclass(frozen=True, kw_only=True)
class EndpointText:
    """The answer of a server to one prompt.

    Attributes:
        text: the text; empty if the server refused.
        finish_reason: "eos", "stop" or "length", as for texts of a model in memory, or "refused".
            Servers other than vLLM do not say whether a stop string or the model ended a text; it
            is "stop" if there are stop strings.
        prompt_tokens: tokens of the prompt.
        new_tokens: tokens of the text.
        usage: "reported" if the server counted the tokens, else "estimated".
        served_model: the name of the model in the answer.
        refusal: reason why the server refused; empty if it did not.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    usage: str
    served_model: str
    refusal: str = ""


def describe(name: str, settings: EndpointConfig) -> str:
    """Return a digest of what identifies a teacher on a server.

    It covers the name of the model and what the server's list of models says about it, if it has
    one: its owner, and the path and parent that vLLM shows. It does not cover the server.

    Raises UserError if the server cannot be reached, refuses the key, or has no such model.
    """
    client = EndpointClient(name, settings)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
        listed = portal.call(client.listed_models)
    model = client.address.model
    known: Mapping[str, Any] = {"id": model}
    if listed:
        if model not in listed:
            shown = ", ".join(sorted(listed)[:10])
            raise UserError(
                f"{name}: the server has no model {model!r}; name one that it has after the #, for "
                f"example {shown}"
            )
        known = listed[model]
    return f"sha256:{hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()}"


class EndpointClient:
    """Client of one teacher, for use in an `async with` block.

    Attributes:
        address: the address of the teacher.
        requests: number of requests that were sent, repeated ones included.
    """

    def __init__(self, name: str, settings: EndpointConfig, sampling: SamplingConfig | None = None):
        """Send nothing yet; raise UserError if the library is not installed.

        Args:
            name: address of the teacher.
            settings: settings of the requests.
            sampling: settings of the sampling; None: no texts are asked for.
        """
        self.address, self.requests = EndpointAddress.of(name), 0
        self._name, self._settings = name, settings
        self._key = _key(settings.key_variable)
        self._openai = _openai()
        self._pace = RequestPace(settings.requests_per_minute, settings.tokens_per_minute)
        self._longest = sampling.max_new_tokens if sampling else 0
        self._stops = bool(sampling and sampling.stop)
        self._fields = _fields(sampling, settings.api) if sampling else {}

    async def __aenter__(self) -> "EndpointClient":
        hooks = {"request": [self._before_request], "response": [self._after_response]}
        self._client = self._openai.AsyncOpenAI(
            base_url=self.address.base_url,
            api_key=self._key or _NO_KEY,
            timeout=self._settings.timeout,
            max_retries=self._settings.retries,
            http_client=self._openai.DefaultAsyncHttpxClient(event_hooks=hooks),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def listed_models(self) -> dict[str, dict[str, Any]]:
        """Return what the server says about each of its models; empty if the server has no list."""
        try:
            answer = await self._client.get("/models", cast_to=object)
        except self._openai.APIError as error:
            if getattr(error, "status_code", 0) in _NO_LIST:
                return {}
            raise self._explained(error) from None
        models = answer.get("data") if isinstance(answer, dict) else None
        return {
            model["id"]: {key: model.get(key) for key in _IDENTITY}
            for model in models or ()
            if isinstance(model, dict) and isinstance(model.get("id"), str)
        }

    async def complete(self, prompt: str, seed: int) -> EndpointText:
        """Return the server's continuation of a prompt, or its refusal.

        Raises UserError if the key or the model is wrong, or if all tries fail.
        """
        try:
            completion = await self._client.completions.create(
                model=self.address.model, prompt=prompt, seed=seed, extra_body=self._fields
            )
        except self._openai.APIStatusError as error:
            if error.status_code not in _REFUSING:
                raise self._explained(error) from None
            answer = _refusal(f"status {error.status_code}: {self._detail(error)}")
        except self._openai.APIError as error:
            raise self._explained(error) from None
        else:
            answer = self._answer(completion, prompt)
        reserved = estimated_tokens(prompt) + self._longest
        self._pace.give_back(reserved - answer.prompt_tokens - answer.new_tokens)
        return answer

    def _answer(self, completion: Any, prompt: str) -> EndpointText:
        choice = completion.choices[0]
        prompt_tokens, new_tokens, usage = _usage(completion, prompt, choice.text, self._longest)
        reason, refusal = choice.finish_reason, ""
        if reason == "stop":
            said = hasattr(choice, "stop_reason")  # by vLLM: a string, a token's id, or null
            stopped = isinstance(choice.stop_reason, str) if said else self._stops
            reason = "stop" if stopped else "eos"
        elif reason != "length":
            reason, refusal = REFUSED, f"the server ended the text for the reason {reason!r}"
        return EndpointText(
            text="" if refusal else choice.text,
            finish_reason=reason,
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            usage=usage,
            served_model=str(completion.model or ""),
            refusal=refusal,
        )

    async def _before_request(self, request: Any) -> None:
        """Wait for the request's turn; called for each try."""
        self.requests += 1
        body = json.loads(request.content) if request.content else {}
        await self._pace.turn(estimated_tokens(body.get("prompt", "")) + body.get("max_tokens", 0))

    async def _after_response(self, response: Any) -> None:
        """Refuse an answer that is not whole, as a broken connection, which is tried again."""
        import httpx2

        if not response.is_success:
            return
        await response.aread()
        if fault := _fault(response):
            raise httpx2.RemoteProtocolError(fault, request=response.request)

    def _explained(self, error: Exception) -> UserError:
        """Return an error of the library as one line."""
        status = getattr(error, "status_code", 0)
        detail = f"status {status}: {self._detail(error)}" if status else self._detail(error)
        if status in (401, 403):
            variable = self._settings.key_variable
            state = "is set, but not to a valid key" if self._key else "is not set"
            return UserError(
                f"{self._name}: the server refuses access ({detail}); the environment variable "
                f"{variable} {state}: set it, or name another one in config.endpoint.key_variable"
            )
        if status == 404:
            return UserError(
                f"{self._name}: the server does not know {self.address.base_url}/completions or "
                f"the model {self.address.model!r} ({detail}); correct the address in "
                "config.teachers"
            )
        retries = self._settings.retries
        return UserError(
            f"{self._name}: requests fail, after up to {retries} retries ({detail}); finished "
            "texts are on disk: when the server answers, repeat the command to resume"
        )

    def _detail(self, error: Exception) -> str:
        """Return the message of a server or a connection, without the key."""
        body = getattr(error, "body", None)
        message = body.get("message") if isinstance(body, dict) else body
        cause = error.__cause__
        if not message and cause is not None:
            message = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        text = one_line(message or error)
        if wait := getattr(getattr(error, "response", None), "headers", {}).get("retry-after"):
            text += f"; Retry-After: {wait}"
        if self._key:
            text = text.replace(self._key, f"[{self._settings.key_variable}]")
        return text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]} …"


def _key(variable: str) -> str:
    """Return the key in an environment variable; empty if there is none."""
    key = os.environ.get(variable, "").strip()
    if not _KEY.fullmatch(key):  # it is not shown
        raise UserError(
            f"environment variable {variable}: contains spaces, or characters that are not ASCII, "
            "expected an API key; set it again"
        )
    return key


def _refusal(reason: str) -> EndpointText:
    return EndpointText(
        text="",
        finish_reason=REFUSED,
        prompt_tokens=0,
        new_tokens=0,
        usage="reported",
        served_model="",
        refusal=reason,
    )


def _openai() -> types.ModuleType:
    try:
        import openai
    except ImportError:
        raise UserError(
            "config.teachers: a teacher on a server needs the package openai; install it with "
            "`pip install -r requirements-endpoint.txt` in a clone of the repository"
        ) from None
    return openai


def _fields(sampling: SamplingConfig, api: str) -> dict[str, Any]:
    """Return the fields of a request for the settings of the sampling."""
    names = OPENAI_FIELDS | (VLLM_FIELDS if api == "vllm" else {})
    fields = {name: getattr(sampling, key) for key, name in names.items()}
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    return fields


def _fault(response: Any) -> str:
    """Return the problem of a successful answer; empty if it is valid."""
    try:
        answer = response.json()
    except ValueError:
        return "the answer is not JSON"
    if not response.request.url.path.endswith("/completions"):
        return ""
    try:
        whole = isinstance(answer["choices"][0]["text"], str)
    except (KeyError, IndexError, TypeError):
        whole = False
    return "" if whole else "the answer has no choices[0].text"


def _usage(completion: Any, prompt: str, text: str, longest: int) -> tuple[int, int, str]:
    """Return the tokens of prompt and text, and whether the server reported them."""
    prompt_tokens, new_tokens = (
        getattr(completion.usage, name, None) for name in ("prompt_tokens", "completion_tokens")
    )
    if (
        type(prompt_tokens) is int
        and type(new_tokens) is int
        and prompt_tokens >= 0
        and 0 <= new_tokens <= longest
    ):
        return prompt_tokens, new_tokens, "reported"
    return estimated_tokens(prompt), estimated_tokens(text), "estimated"
