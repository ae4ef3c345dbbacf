"""A local hub with the part of its HTTP interface that downloads and uploads of datasets need."""

import base64
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
_DATASET = re.compile(r"/api/datasets/([\w.-]+/[\w.-]+)(?:/(\w+)/main)?(?:\?.*)?")
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
        elif match := _DATASET.fullmatch(path):
            self._describe_dataset(*match.groups())
        elif match := _FILE.match(path):
            self._send_file(*match.groups())
        else:
            self._refuse(404, "EntryNotFound")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.replace("%2F", "/")
        self.server.posted.append(path)
        if path == "/api/validate-yaml":
            self._send_json({"errors": [], "warnings": []})
        elif self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._send(401, b"", {"X-Error-Message": "Invalid credentials"})
        elif path == "/api/repos/create":
            self._create_dataset(json.loads(body))
        elif path in self.server.failing:
            self._send(self.server.failing[path], b"", {})
        elif match := _DATASET.fullmatch(path):
            self._change_dataset(*match.groups(), body)
        else:
            self._refuse(404, "EntryNotFound")

    def _describe_dataset(self, name, kind):
        files = self.server.datasets.get(name)
        if files is None:
            self._refuse(401, "RepoNotFound")
        elif kind == "tree":
            self._send_json([
                {"type": "file", "path": path, "size": len(content), "oid": f"{len(content):040}"}
                for path, content in files.items()
            ])  # fmt: skip
        else:
            self._send_json({
                "id": name, "sha": COMMIT, "private": name in self.server.private, "tags": [],
                "siblings": [{"rfilename": path} for path in files],
            })  # fmt: skip

    def _create_dataset(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != self.server.organization:
            self._send(403, b"", {"X-Error-Message": "You don't have the rights"})
            return
        assert wanted["type"] == "dataset"
        self.server.datasets[name] = {".gitattributes": b""}
        if wanted.get("private") or wanted.get("visibility") == "private":
            self.server.private.add(name)
        self._send_json({"url": f"{self.server.url}/datasets/{name}", "name": name})

    def _change_dataset(self, name, kind, body):
        files = self.server.datasets[name]
        if kind == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            self._send_json({"files": [
                {"path": path, "uploadMode": self.server.upload_mode, "shouldIgnore": False}
                for path in paths
            ]})  # fmt: skip
            return
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self._send_json({
            "commitUrl": f"{self.server.url}/datasets/{name}/commit/{COMMIT}", "commitOid": COMMIT,
            "success": True,
        })  # fmt: skip

    def _send_json(self, value):
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

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

    The transfer of a file in its set `interrupted` ends with a reset connection. Datasets that are
    uploaded with its `token` to its `organization` are in `datasets`, as contents by name and path;
    a path in `failing` is answered with that status. With the `upload_mode` "lfs", files are sent
    to the store of large files, which has no fake and refuses them.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.models, server.gated, server.sent = models, gated, []
    server.interrupted = set()
    server.token, server.organization = "hf_secret", "lab"
    server.upload_mode = "regular"
    server.datasets, server.private, server.posted, server.failing = {}, set(), [], {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
