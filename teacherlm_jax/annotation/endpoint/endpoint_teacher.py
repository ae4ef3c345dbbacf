"""A teacher on a server: a bounded number of requests, and their cost."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import SimpleQueue

from anyio.from_thread import BlockingPortal, start_blocking_portal

from teacherlm_jax.annotation.endpoint.endpoint_client import EndpointClient, EndpointText
from teacherlm_jax.annotation.endpoint.endpoint_cost import SpentTokens
from teacherlm_jax.annotation.explain import GeneratedExplanation, judged_explanation
from teacherlm_jax.annotation.explanation_prompts import ExplanationPrompt, estimated_tokens
from teacherlm_jax.annotation.gates.gates import GateInput
from teacherlm_jax.config import AnnotateConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.generation.sampling import request_key
from teacherlm_jax.wording import counted

_SECONDS_BETWEEN_LINES = 10.0
_ALL_REFUSED = 20  # refusals without a single text that end the run

Answer = tuple[ExplanationPrompt, EndpointText]


class EndpointTeacher:
    """A teacher that a server runs; see `loaded_teacher.LoadedTeacher`.

    Attributes:
        step: always 0 (unknown).
        digest: digest of what identifies the model on the server.
        dtype, weights: always empty (unknown).
    """

    step = 0
    dtype = weights = ""

    def __init__(
        self,
        config: AnnotateConfig,
        name: str,
        digest: str,
        spent: SpentTokens,
        say: Callable[[str], None],
    ):
        """Send nothing yet.

        Args:
            config: settings of the requests, sampling, seed and gates.
            name: address of the teacher.
            digest: see above.
            spent: tokens of texts on disk.
            say: gets a line about tokens and cost every ten seconds.
        """
        self.digest = digest
        self._config, self._name, self._spent, self._say = config, name, spent, say
        self._said, self._texts, self._estimated = time.monotonic(), 0, False
        self._sending = True  # whether further requests may be sent

    def of(self, kind: str) -> "EndpointTeacher":
        """Return the teacher that writes a kind: this one."""
        return self

    def explanations(
        self, prompts: Iterator[ExplanationPrompt]
    ) -> Iterator[tuple[ExplanationPrompt, GeneratedExplanation]]:
        """Yield each prompt with its explanation as it is finished.

        Raises UserError if the server refuses access or does not answer, if it refuses every
        prompt, and before a request that may exceed the limit of the cost. Texts of requests in
        flight are yielded before that.
        """
        client = EndpointClient(self._name, self._config.endpoint, self._config.sampling)
        self._sending = True
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
            for prompt, answer in self._not_all_refused(self._answers(portal, client, prompts)):
                self._texts += 1
                self._report(client, answer)
                yield prompt, self._judged(prompt, answer)
        self._say(self._line(client))

    def answers_found(self, explained: Sequence[GateInput]) -> list[bool | None]:
        """Return no verdicts: the config refuses the gate for teachers on a server."""
        return [None] * len(explained)

    def _answers(
        self, portal: BlockingPortal, client: EndpointClient, prompts: Iterator[ExplanationPrompt]
    ) -> Iterator[Answer]:
        """Yield the server's answers, with a bounded number of requests in flight."""
        running: dict[Future[EndpointText], ExplanationPrompt] = {}
        finished: SimpleQueue[Future[EndpointText]] = SimpleQueue()
        failure: Exception | None = None
        too_dear: ExplanationPrompt | None = None
        while True:
            while (
                failure is None
                and self._sending
                and len(running) < self._config.endpoint.concurrency
            ):
                prompt = too_dear or next(prompts, None)
                if prompt is None:
                    break
                if not self._spent.reserve(*self._most(prompt)):
                    too_dear = prompt
                    break
                too_dear = None
                seed = request_seed(self._config.seed, prompt)
                future = portal.start_task_soon(client.complete, prompt.text, seed)
                running[future] = prompt
                future.add_done_callback(finished.put)
            if not running:
                break
            future = finished.get()
            prompt = running.pop(future)
            self._spent.release(*self._most(prompt))
            try:
                answer = future.result()
            except Exception as error:  # raised when the texts in flight are there
                failure = failure or error
                continue
            self._spent.add(answer.prompt_tokens, answer.new_tokens)
            yield prompt, answer
        if failure is not None:
            raise failure
        if too_dear is not None:
            raise self._limit_reached()

    def _most(self, prompt: ExplanationPrompt) -> tuple[int, int]:
        """Return the estimated tokens of a prompt, and the maximum tokens of its text."""
        return estimated_tokens(prompt.text), self._config.sampling.max_new_tokens

    def _limit_reached(self) -> UserError:
        return UserError(
            f"config.endpoint.max_cost={self._config.endpoint.max_cost}: another text of "
            f"{self._name} may cost more than that; so far: {self._spent}. Finished texts are on "
            "disk: raise it and repeat the command to resume"
        )

    def _not_all_refused(self, answers: Iterator[Answer]) -> Iterator[Answer]:
        """Yield the answers, refusals only if there are not many without any text.

        After many refusals no further request is sent until those in flight are answered: a server
        refuses a prompt at once, and needs seconds for a text. Raises UserError if it refuses them
        all, as it does if it does not know a field of the requests.
        """
        refused: list[Answer] = []
        for prompt, answer in answers:
            if answer.refusal:
                refused.append((prompt, answer))
                self._sending = len(refused) < _ALL_REFUSED
                continue
            self._sending = True
            yield from refused
            yield prompt, answer
            yield from answers
            return
        if len(refused) >= _ALL_REFUSED:
            raise UserError(
                f"{self._name}: the server refused the first {len(refused)} prompts, for example "
                f"{refused[0][0].id} ({refused[0][1].refusal}); change config.sampling, "
                "config.endpoint.api or the source, and repeat the command"
            )
        yield from refused

    def _judged(self, prompt: ExplanationPrompt, answer: EndpointText) -> GeneratedExplanation:
        """Return an explanation with the verdicts of the gates."""
        return judged_explanation(
            *(prompt, self._config.gates),
            text=answer.text,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            new_tokens=answer.new_tokens,
            details={
                "served_model": answer.served_model,
                "usage": answer.usage,
                "refusal": answer.refusal,
            },
        )

    def _report(self, client: EndpointClient, answer: EndpointText) -> None:
        if answer.usage != "reported" and not self._estimated:
            self._estimated = True
            self._say(
                f"{self._name}: the server reports no token counts, or wrong ones; they are "
                "estimated as a quarter of the bytes of a text, and so is the cost"
            )
        if time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            self._say(self._line(client))

    def _line(self, client: EndpointClient) -> str:
        return (
            f"{self._name}: {counted(client.requests, 'request')} for "
            f"{counted(self._texts, 'text')}; texts of the run so far: {self._spent}"
        )


def request_seed(seed: int, prompt: ExplanationPrompt) -> int:
    """Return the seed of one text: 31 bits of the SHA-256 of (seed, sample id, kind)."""
    return int(request_key(seed, prompt.sample.id, prompt.kind)[0]) >> 1
