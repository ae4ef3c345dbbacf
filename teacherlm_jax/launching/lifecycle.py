"""A slice from the request to the end of the run, across preemptions."""

import re
from collections.abc import Sequence

from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.launching import hosts
from teacherlm_jax.launching.gcloud import QueuedSlice
from teacherlm_jax.launching.shell import Answer, Shell

_ACTIVE = "ACTIVE"
_LOST = ("SUSPENDED", "FAILED")
_REFUSED = 2  # the command said what it cannot use: again it would say the same
# ssh lost the connection; SIGTERM, SIGKILL; JAX missed another host; hosts did not meet.
_CUT = (255, 128 + 15, 128 + 9, 128 + 6, 75)
_LOOKS = 10  # for a preemption behind a failure that could also be the program's own
_MISSING = "NOT_FOUND"
# Errors of the cloud or the network that pass by themselves.
_TRANSIENT = re.compile(
    r"UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|INTERNAL\b|RESOURCE_EXHAUSTED|\b(429|50[0234])\b|"
    r"timed? ?out|connection (reset|refused|aborted)|name resolution|max retries",
    re.IGNORECASE,
)
_BACKOFF = (1, 2, 4, 8, 10, 10, 10, 10)  # pauses, in units of --poll: 27.5 minutes at 30 seconds
_TRIES = 3  # in a row on one slice whose hosts are there and fail


class Lifecycle:
    """Keeps one slice alive for one run."""

    def __init__(self, pod: QueuedSlice, shell: Shell, *, poll: float, restarts: int):
        """Looks every `poll` seconds, and starts anew up to `restarts` times."""
        self._pod, self._shell = pod, shell
        self._poll, self._restarts = poll, restarts
        self._left = restarts

    def make_ready(self) -> None:
        """Returns when the slice is there: asks for it, waits for it, replaces a lost one.

        Raises UserError when gcloud refuses, or restarts are used up.
        """
        asked = False
        while (state := self._state()) != _ACTIVE:
            if state in _LOST:
                self._restart(f"the slice is {state}")
                self._must(self._pod.delete())
                state = ""
            if not state:
                if asked and not self._left:
                    raise UserError(f"{self._pod.name}: asked for, and not there")
                self._must(self._pod.create())
                asked = True
            self._shell.wait(self._poll)

    def delete(self) -> None:
        """Delete the slice and its request; UserError if gcloud cannot."""
        self._must(self._pod.delete())

    def once(self, steps: Sequence[Sequence[str]]) -> int:
        """Runs commands up to the first that fails; gives its exit status, or 0."""
        for words in steps:
            if status := self._shell.call(words):
                return status
        return 0

    def follow(self, steps: Sequence[Sequence[str]]) -> int:
        """Runs commands on the slice up to the last, which is long; again when the slice is lost.

        Gives the exit status of the last attempt. SIGINT and SIGTERM let the run save and leave.
        """
        tries = 0
        while True:
            self.make_ready()
            status, stopped = self.once(steps[:-1]), False
            if not status:
                status, stopped = self._shell.attend(steps[-1], self._pod.on_all(hosts.stop()))
            if stopped or status in (0, _REFUSED):
                return status
            there = self._still_there(looks=1 if status in _CUT else _LOOKS)
            if there and status not in _CUT:
                return status
            self._restart(f"the run ended with status {status}")
            tries = tries + 1 if there else 0
            if tries == _TRIES:
                self._must(self._pod.delete())
                tries = 0

    def _still_there(self, looks: int) -> bool:
        """Whether the slice is there and stays so for some looks.

        What cut the run off may keep gcloud from answering for a while, too.
        """
        failed = 0
        while looks:
            self._shell.wait(self._poll)
            try:
                if self._state() != _ACTIVE:
                    return False
                looks -= 1
            except UserError:
                failed += 1
                if failed == _LOOKS:
                    raise
        return True

    def _restart(self, reason: str) -> None:
        if not self._left:
            raise UserError(
                f"{self._pod.name}: {reason}, and --restarts={self._restarts} are used up; the "
                "same command goes on"
            )
        self._left -= 1
        print(f"launch: {reason}; starting again ({self._left} restarts left)", flush=True)

    def _state(self) -> str:
        """Return the state of the request, or "" if there is no request."""
        status, output, errors = self._ask(self._pod.state())
        if status == 0:
            return output.strip()
        if _MISSING in errors:
            return ""
        raise UserError(f"{self._pod.name}: gcloud cannot tell its state: {one_line(errors)}")

    def _must(self, words: Sequence[str]) -> None:
        status, _, errors = self._ask(words)
        if status:
            reason = f": {one_line(errors)}" if errors.strip() else ""
            raise UserError(
                f"{self._pod.name}: gcloud {words[4]} failed with status {status}{reason}"
            )

    def _ask(self, words: Sequence[str]) -> Answer:
        """Run a gcloud command, and repeat it with growing pauses while the error is transient."""
        for factor in _BACKOFF:
            answer = self._shell.ask(words)
            if answer.status == 0 or not _TRANSIENT.search(answer.errors):
                return answer
            seconds = factor * self._poll
            print(
                f"launch: gcloud {words[4]}: {one_line(answer.errors)}; trying again in "
                f"{seconds:g} s",
                flush=True,
            )
            self._shell.wait(seconds)
        answer = self._shell.ask(words)
        if answer.status and _TRANSIENT.search(answer.errors):
            raise UserError(
                f"{self._pod.name}: gcloud {words[4]} failed {len(_BACKOFF) + 1} times in "
                f"{sum(_BACKOFF) * self._poll:g} s: {one_line(answer.errors)}; the slice may still "
                "exist and cost money: repeat the command, or delete it"
            )
        return answer
