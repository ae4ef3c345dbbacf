"""A local model hub with the part of the hub's HTTP interface that a download needs."""

import contextlib
import hashlib
import json
import os
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_API = re.compile(r"/api/models/([\w.-]+/[\w.-]+)(?:/(revision|tree)/([^/?]+))?")
_FILE = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/([^?]+)")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Log nothing."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.replace("%2F", "/")
        if match := _API.match(path):
            self._describe(*match.groups())
        elif match := _FILE.match(path):
            self._send_file(*match.groups())
        else:
            self._refuse(404, "EntryNotFound")

    def _describe(self, name, kind, revision):
        folder = self.server.models.get(name)
        if folder is None:
            self._refuse(401, "RepoNotFound")
        elif revision not in (None, "main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        else:
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            names = [path.relative_to(folder).as_posix() for path in paths]
            if kind == "tree":
                sizes = [path.stat().st_size for path in paths]
                content = [
                    {"type": "file", "path": name, "size": size, "oid": f"{size:040}"}
                    for name, size in zip(names, sizes, strict=True)
                ]
            else:
                content = {
                    "id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [],
                    "siblings": [{"rfilename": name} for name in names],
                }  # fmt: skip
            self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send_file(self, name, revision, file):
        if name in self.server.gated:
            self._refuse(403, "GatedRepo")
            return
        content = (self.server.models[name] / file).read_bytes()
        if self.command == "GET":
            self.server.sent.append(file)
        if file in self.server.interrupted and self.command == "GET":
            self._interrupt(content)
            return
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self._send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT})

    def _interrupt(self, content):
        """Send a half of the content, then reset the connection."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def _refuse(self, status, code):
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status, content, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextlib.contextmanager
def serving(models, gated=()):
    """Serve folders by model name; yield the server with its `url` and the files `sent`.

    The transfer of a file in its set `interrupted` ends with a reset connection.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.models, server.gated, server.sent = models, gated, []
    server.interrupted = set()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
