"""A hub of one process: what `huggingface_hub` asks to make a repository, commit small files and fetch them."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = ["hub"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    def _answer(self, status, content=b"", **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        path, files = urlsplit(self.path).path, self.server.files
        self.server.asked.append((path, self.headers.get("Authorization")))
        address = f"http://127.0.0.1:{self.server.server_port}/me/mine"
        if path == "/api/repos/create":
            self._answer(200, {"url": address, "name": "me/mine", "id": "1"})
        elif "/branch/" in path:
            self._answer(200, {})
        elif path == "/api/validate-yaml":
            self._answer(200, {"warnings": [], "errors": []})
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            found = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self._answer(200, {"files": found})
        elif "/commit/" in path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self._answer(200, {"commitUrl": f"{address}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})
        else:
            self._answer(404, {"error": path})

    def do_GET(self):
        path = urlsplit(self.path).path
        self.server.asked.append((path, self.headers.get("Authorization")))
        content = self.server.files.get(path.rpartition("/")[2]) if path.startswith("/me/mine/resolve/") else None
        if content is None:
            code = "EntryNotFound" if path.startswith("/me/mine/") else "RepoNotFound"
            self._answer(404, {"error": "no"}, X_Error_Code=code)
        else:
            self._answer(200, content, ETag=f'"{hashlib.sha256(content).hexdigest()}"')

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *_): ...


@contextmanager
def hub():
    """The server; `files` by name, `asked` has (path, authorisation) of each request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.files, server.asked = {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
