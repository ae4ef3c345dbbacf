"""A proxy in front of a bucket on this machine: counts requests and injects faults."""

import collections
import contextlib
import dataclasses
import http.client
import http.server
import math
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Iterator

_KINDS = {  # the first that matches "METHOD PATH"
    "read": r"GET (/download/|.*[?&]alt=media|(?!/storage/|/batch)/[^/?]+/)",
    "write": r"(POST|PUT) /upload/",
    "cancel": r"DELETE /upload/",
    "bucket": r"GET /storage/v1/b/[^/?]+(\?|$)",
    "list": r"GET /storage/v1/b/[^/?]+/o(\?|$)",
    "stat": r"GET /storage/v1/b/[^/?]+/o/",
    "copy": r"POST .*/(rewriteTo|copyTo)/",
    "remove": r"DELETE |POST /batch",
}
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")
_MESSAGE = b'{"error": {"code": %d, "message": "injected fault"}}'


@dataclasses.dataclass
class Fault:
    """A rule for requests that fail.

    Attributes:
        answer: HTTP status to answer; bytes: content to answer with status 200; "reset": the
            connection is reset in the middle of the request's body or, without one, of the answer;
            "truncated": the connection is closed in the middle of the answer; "short": half of the
            answer is sent as if it were all; "changed": one bit of the answer is wrong.
        kind: pattern of the kinds of requests that fail, such as "read|list"; empty: all.
        path: pattern that the unquoted path with its query has to contain.
        times: number of requests that fail.
        after: number of matching requests that succeed before.
        every: fail only one in this number of requests.
        delay: seconds to wait before the answer; with an empty `answer` the request then succeeds.
        seen: number of requests that matched.
        failed: number of requests that failed.
    """

    answer: int | str | bytes = ""
    kind: str = ""
    path: str = ""
    times: float = math.inf
    after: int = 0
    every: int = 1
    delay: float = 0.0
    seen: int = 0
    failed: int = 0

    def applies(self, kind: str, path: str) -> bool:
        """Count a request; return whether it has to fail."""
        if not re.fullmatch(self.kind or ".*", kind) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen <= self.after or self.failed >= self.times or self.seen % self.every:
            return False
        self.failed += 1
        return True


class Proxy:
    """A server that passes requests on.

    Attributes:
        url: its address, for `bucket.environment`.
        counts: number of requests by kind: read, write, list, stat, bucket, copy, remove, cancel.
        seen: kind, unquoted path and headers of each request.
        skew: seconds by which the clock in its answers is ahead.
    """

    skew = 0.0

    def __init__(self, target: str):
        """Listen on a free port; pass requests on to the server at `target`."""
        self.target, self._faults, self._lock = target, [], threading.Lock()
        self.counts: collections.Counter[str] = collections.Counter()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        handler = type("Handler", (_Handler,), {"proxy": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def fail(self, answer: int | str | bytes = "", kind: str = "", path: str = "", **rule) -> Fault:
        """Make requests fail from now on; see `Fault`. Return the rule, which counts them."""
        fault = Fault(answer, kind, path, **rule)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all rules and counts."""
        with self._lock:
            self._faults.clear()
            self.counts.clear()
            self.seen.clear()

    def note(self, method: str, path: str, headers: dict[str, str]) -> Fault | None:
        """Count a request; return the rule by which it has to fail, if any."""
        path = urllib.parse.unquote(path)
        line = f"{method} {path}"
        kind = next((name for name, form in _KINDS.items() if re.match(form, line)), "other")
        with self._lock:
            self.counts[kind] += 1
            self.seen.append((kind, path, headers))
            return next((fault for fault in self._faults if fault.applies(kind, path)), None)


@contextlib.contextmanager
def serving(target: str) -> Iterator[Proxy]:
    """Run a proxy in front of the server at `target` in threads of this process."""
    proxy = Proxy(target)
    threading.Thread(target=proxy.server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client, with one connection to the server behind it."""

    proxy: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client is gone
            super().handle()

    def setup(self) -> None:
        super().setup()
        self._server = http.client.HTTPConnection(self.proxy.target.removeprefix("http://"))

    def finish(self) -> None:
        self._server.close()
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_) -> None:
        """Print nothing."""

    def _pass(self) -> None:
        fault = self.proxy.note(self.command, self.path, dict(self.headers))
        length = int(self.headers.get("Content-Length", 0))
        if fault and fault.answer == "reset" and length:
            self.rfile.read(length // 2)
            self._reset()
            return
        body = self.rfile.read(length)
        time.sleep(fault.delay if fault else 0)
        if fault and isinstance(fault.answer, int):
            self._send(fault.answer, {}, _MESSAGE % fault.answer)
            return
        if fault and isinstance(fault.answer, bytes):
            self._send(200, {"Content-Type": "application/json"}, fault.answer)
            return
        headers = {name: text for name, text in self.headers.items() if name.lower() not in _HOP}
        self._server.request(self.command, self.path, body, headers)
        answer = self._server.getresponse()
        content = answer.read()
        own = {name: text for name, text in answer.getheaders() if name.lower() not in _HOP}
        if "Location" in own:  # of the parts of an upload
            own["Location"] = own["Location"].replace(self.proxy.target, self.proxy.url)
        if fault and fault.answer == "changed":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if not fault or fault.answer in ("", "changed"):
            self._send(answer.status, own, content)
            return
        half = content[: len(content) // 2]
        self._send(answer.status, own, half, len(half if fault.answer == "short" else content))
        if fault.answer == "reset":
            self._reset()
        self.close_connection = fault.answer != "short"

    def __getattr__(self, name: str):
        """Return the method for any kind of request, such as `do_GET`."""
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)

    def _send(self, status: int, headers: dict, content: bytes, length: int | None = None) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the header Date."""
        return super().date_time_string(time.time() + self.proxy.skew)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)  # close() sends RST
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True
