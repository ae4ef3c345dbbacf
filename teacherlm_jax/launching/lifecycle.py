"""Lifecycle of a slice, from its request to the end of the run, across preemptions."""

import re
from collections.abc import Sequence

from teacherlm_jax.errors import UserError, one_line
from teacherlm_jax.launching import handover, hosts
from teacherlm_jax.launching.gcloud import QueuedSlice
from teacherlm_jax.launching.shell import Answer, Shell
from teacherlm_jax.runs.console import say

_ACTIVE = "ACTIVE"
_LOST = ("SUSPENDED", "FAILED")
_REFUSED = 2  # exit status for invalid input; a restart would fail in the same way
_DISCONNECTED = (255, *handover.RESTARTED)  # 255: ssh lost its connection
_LOOKS = 10  # state queries after a failure, since a preemption may be its cause
_MISSING = "NOT_FOUND"
# Transient errors of the cloud or the network.
_TRANSIENT = re.compile(
    r"UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|INTERNAL\b|RESOURCE_EXHAUSTED|\b(429|50[0234])\b|"
    r"timed? ?out|connection (reset|refused|aborted)|name resolution|max retries",
    re.IGNORECASE,
)
_BACKOFF = (1, 2, 4, 8, 10, 10, 10, 10)  # pauses, in units of --poll: 27.5 minutes at 30 seconds
_REPEAT = "check --zone, --project, the quota and `gcloud auth list`, and repeat the command"
_TRIES = 3  # failures in a row on one active slice before it is replaced


class Lifecycle:
    """Requests one slice for one run, and replaces it after preemptions."""

    def __init__(self, pod: QueuedSlice, shell: Shell, *, poll: float, restarts: int):
        """Query the state every `poll` seconds, and restart up to `restarts` times."""
        self._pod, self._shell = pod, shell
        self._poll, self._restarts = poll, restarts
        self._left = restarts

    def make_ready(self) -> None:
        """Request the slice, replace it if it is lost, and return when it is active.

        Raises UserError if gcloud fails or no restarts are left.
        """
        requested = False
        while (state := self._state()) != _ACTIVE:
            if state in _LOST:
                self._restart(f"the slice is {state}")
                self._must(self._pod.delete())
                state = ""
            if not state:
                if requested and not self._left:
                    raise UserError(
                        f"{self._pod.name}: was requested, but gcloud does not list it; repeat the "
                        "command"
                    )
                self._must(self._pod.create())
                requested = True
            self._shell.wait(self._poll)

    def delete(self) -> None:
        """Delete the slice and its request; UserError if gcloud cannot."""
        self._must(self._pod.delete())

    def follow(self, steps: Sequence[Sequence[str]]) -> int:
        """Run commands on the slice, the last of which is the run; restart if the slice is lost.

        Returns the exit status of the last attempt. On SIGINT and SIGTERM, the run saves a
        checkpoint and exits.
        """
        tries = 0
        while True:
            self.make_ready()
            # The first step that fails ends the attempt.
            status, stopped = next(filter(None, map(self._shell.call, steps[:-1])), 0), False
            if not status:
                status, stopped = self._shell.attend(steps[-1], self._pod.on_all(hosts.stop()))
            if stopped or status in (0, _REFUSED):
                return status
            active = self._stays_active(looks=1 if status in _DISCONNECTED else _LOOKS)
            if active and status not in _DISCONNECTED:
                return status
            self._restart(f"the run ended with status {status}")
            tries = tries + 1 if active else 0
            if tries == _TRIES:
                self._must(self._pod.delete())
                tries = 0

    def _stays_active(self, looks: int) -> bool:
        """Return whether the slice is active in `looks` state queries.

        The failure that ended the run may also keep gcloud from answering for a while.
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
                f"{self._pod.name}: {reason}, and --restarts={self._restarts} are used up; repeat "
                "the command to resume the run"
            )
        self._left -= 1
        say(f"launch: {reason}; restarting ({self._left} restarts left)")

    def _state(self) -> str:
        """Return the state of the request, or "" if there is no request."""
        status, output, errors = self._ask(self._pod.state())
        if status == 0:
            return output.strip()
        if _MISSING in errors:
            return ""
        raise UserError(
            f"{self._pod.name}: gcloud cannot query its state: {one_line(errors)}; {_REPEAT}"
        )

    def _must(self, words: Sequence[str]) -> None:
        status, _, errors = self._ask(words)
        if status:
            reason = f": {one_line(errors)}" if errors.strip() else ""
            raise UserError(
                f"{self._pod.name}: gcloud {words[4]} failed with status {status}{reason}; "
                f"{_REPEAT}"
            )

    def _ask(self, words: Sequence[str]) -> Answer:
        """Run a gcloud command; retry after a transient error, with growing pauses."""
        for factor in _BACKOFF:
            answer = self._shell.ask(words)
            if answer.status == 0 or not _TRANSIENT.search(answer.errors):
                return answer
            seconds = factor * self._poll
            say(f"launch: gcloud {words[4]}: {one_line(answer.errors)}; retrying in {seconds:g} s")
            self._shell.wait(seconds)
        answer = self._shell.ask(words)
        if answer.status and _TRANSIENT.search(answer.errors):
            raise UserError(
                f"{self._pod.name}: gcloud {words[4]} failed {len(_BACKOFF) + 1} times in "
                f"{sum(_BACKOFF) * self._poll:g} s: {one_line(answer.errors)}; the slice may still "
                "exist and cost money: repeat the command, or delete the slice with the action "
                "`delete`"
            )
        return answer
