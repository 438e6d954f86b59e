"""The part of the Hugging Face hub that a download needs, on a local port."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves folders as repositories; `requests` lists what was asked."""

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.requests: list[str] = []
        self.endpoint = ""

    def downloaded(self) -> set[str]:
        """Returns the paths of the files that were sent."""
        found = (re.fullmatch(r"GET /.+?/resolve/[^/]+/(.+)", line) for line in self.requests)
        return {match[1] for match in found if match}


@contextmanager
def serving(repositories: dict[str, Path]) -> Iterator[Hub]:
    """Runs the server in a thread."""
    hub = Hub(repositories)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main)?", path):
                if folder := hub.repositories.get(match[1]):
                    names = [{"rfilename": name} for name in self.names(folder)]
                    value: Any = {"id": match[1], "sha": COMMIT, "siblings": names}
                    return self.send_json(value, with_body)
            elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
                if folder := hub.repositories.get(match[1]):
                    value = [
                        {
                            "type": "file",
                            "path": name,
                            "size": (folder / name).stat().st_size,
                            "oid": self.etag(folder / name),
                        }
                        for name in self.names(folder)
                    ]
                    return self.send_json(value, with_body)
            elif (match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)) and (
                folder := hub.repositories.get(match[1])
            ):
                file = folder / match[2]
                if file.is_file():
                    headers = {"ETag": f'"{self.etag(file)}"', "X-Repo-Commit": COMMIT}
                    return self.send(200, file.read_bytes(), headers, with_body)
                return self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

        def names(self, folder: Path) -> list[str]:
            files = (path for path in folder.rglob("*") if path.is_file())
            return sorted(path.relative_to(folder).as_posix() for path in files)

        def etag(self, file: Path) -> str:
            return hashlib.sha1(file.read_bytes()).hexdigest()

        def send_json(self, value: Any, with_body: bool) -> None:
            headers = {"Content-Type": "application/json"}
            self.send(200, json.dumps(value).encode(), headers, with_body)

        def send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Stays silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
