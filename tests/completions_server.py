"""A local OpenAI-compatible server for tests, which fails on cue."""

import contextlib
import hashlib
import http.server
import json
import socket
import struct
import threading
import time

MODEL = "teacher-1"


class CompletionsServer:
    """A server of `/v1/models` and `/v1/completions`; use it as a context manager.

    A text is a function of prompt and seed.

    Attributes:
        cue: function of a completion's number, from 0, and its body, which returns the fault to
            show, one of FAULTS, or None. Set it at any time.
        asked: bodies of all requests for completions, in the order in which they arrived.
        keys: the values of their header Authorization.
        times: the times at which they arrived.
        models: what `/v1/models` lists; None: it answers with 404.
        unlisted: its answer in place of a list; None: the list.
        hold: function that is called while a request is answered, with this server.
        in_flight: number of requests that are being answered.
        most_in_flight: its maximum.
    """

    def __init__(self):
        self.cue = lambda number, body: None
        self.hold = lambda server: None
        self.asked, self.keys, self.times = [], [], []
        self.models = [{"id": MODEL, "object": "model", "created": 1, "owned_by": "me"}]
        self.unlisted = None
        self.in_flight = self.most_in_flight = 0
        self.changed = threading.Condition()

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def teacher(self):
        return f"{self.url}#{MODEL}"

    @contextlib.contextmanager
    def answering(self, body, key):
        """Count a request; yield its number."""
        with self.changed:
            number = len(self.asked)
            self.asked.append(body)
            self.keys.append(key)
            self.times.append(time.monotonic())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self.changed.notify_all()
        try:
            yield number
        finally:
            with self.changed:
                self.in_flight -= 1
                self.changed.notify_all()


def text_of(prompt, seed):
    """The text that the server writes."""
    return f"because {hashlib.sha256(f'{prompt} {seed}'.encode()).hexdigest()[:8]}"


def completion(body):
    text = text_of(body["prompt"], body["seed"])
    usage = {"prompt_tokens": len(body["prompt"].split()), "completion_tokens": 2}
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": f"{MODEL}-2026",
        "choices": [{"index": 0, "text": f" {text} ", "finish_reason": "stop", "logprobs": None}],
        "usage": usage | {"total_tokens": sum(usage.values())},
    }


def without_usage(answer):
    return answer | {"usage": None}


def wrong_usage(answer):
    return answer | {"usage": {"prompt_tokens": "many", "completion_tokens": 2}}


def impossible_usage(answer):
    return answer | {"usage": {"prompt_tokens": 9, "completion_tokens": 10**9}}


def ended(reason, **more):
    """Return a function that changes how a text ended."""

    def changed(answer):
        choice = answer["choices"][0] | {"finish_reason": reason} | more
        return answer | {"choices": [choice]}

    return changed


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *values):
        """Show nothing."""

    def do_GET(self):
        if self.owner.models is None:
            self.send(404, {"error": {"message": "no such path"}})
        else:
            self.send(200, self.owner.unlisted or {"object": "list", "data": self.owner.models})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.owner.answering(body, self.headers["Authorization"]) as number:
            fault = self.owner.cue(number, body)
            self.owner.hold(self.owner)
            with contextlib.suppress(ConnectionError):  # the client did not wait
                FAULTS[fault](self, completion(body))

    def send(self, status, answer, **headers):
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, status, message, **headers):
        """Send an error whose message repeats the key, as careless servers do."""
        shown = f"{message} (you sent {self.headers['Authorization']})"
        self.send(status, {"error": {"message": shown, "type": "error"}}, **headers)

    def reset(self, answer):
        """Send the first half of an answer, and reset the connection."""
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


FAULTS = {
    None: lambda handler, answer: handler.send(200, answer),
    "busy": lambda handler, answer: handler.refuse(429, "slow down", Retry_After="0.3"),
    "broken": lambda handler, answer: handler.refuse(500, "a bug"),
    "late": lambda handler, answer: (time.sleep(2), handler.send(200, answer)),
    "reset": lambda handler, answer: handler.reset(answer),
    "truncated": lambda handler, answer: handler.send(200, json.dumps(answer).encode()[:60]),
    "no choices": lambda handler, answer: handler.send(200, answer | {"choices": []}),
    "no usage": lambda handler, answer: handler.send(200, without_usage(answer)),
    "wrong usage": lambda handler, answer: handler.send(200, wrong_usage(answer)),
    "impossible usage": lambda handler, answer: handler.send(200, impossible_usage(answer)),
    "filtered": lambda handler, answer: handler.send(200, ended("content_filter")(answer)),
    "full": lambda handler, answer: handler.send(200, ended("length")(answer)),
    "vllm stop": lambda handler, answer: handler.send(200, ended("stop", stop_reason="Q:")(answer)),
    "vllm end": lambda handler, answer: handler.send(200, ended("stop", stop_reason=None)(answer)),
    "long wait": lambda handler, answer: handler.refuse(429, "slow down", Retry_After="300"),
    "too long": lambda handler, answer: handler.refuse(400, "maximum context length is 8 tokens"),
    "wrong key": lambda handler, answer: handler.refuse(401, "Incorrect API key"),
    "forbidden": lambda handler, answer: handler.refuse(403, "not for you"),
    "no model": lambda handler, answer: handler.refuse(404, "no such model"),
}
