"""A loopback stand-in for a W&B server: it answers what wandb 0.31's own client asks and keeps what it is sent.

Every GraphQL answer holds all fields that any operation reads; clients take theirs. Only what the tests look at is
kept: operations with their variables, lines of the runs' files, uploads.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ENTITY = "team"
OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")


class Server(ThreadingHTTPServer):
    """Keeps `asked` (operation, variables), `streamed` lines by (run id, file) and `uploads` (path -> bytes)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.streamed: dict[tuple[str, str], list[str]] = {}
        self.exit_codes: dict[str, int] = {}
        self.uploads: dict[str, bytes] = {}

    def variables_of(self, operation: str) -> list[dict[str, Any]]:
        """What an operation was asked with, every time."""
        return [variables for name, variables in self.asked if name == operation]

    def take_lines(self, run: str, body: dict[str, Any]) -> None:
        """Keep a part of a run's file stream; a line that is sent a second time takes the place of the first."""
        for name, part in body.get("files", {}).items():
            kept = self.streamed.setdefault((run, name), [])
            kept[part["offset"] :] = part["content"]
        if body.get("complete"):
            self.exit_codes[run] = body["exitcode"]

    def data(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to any operation, by the names in its variables."""
        project = {"id": "p1", "name": asked.get("project"), "entity": {"id": "e1", "name": ENTITY}}
        run = {"id": "r1", "name": asked.get("name"), "displayName": "", "config": "{}", "project": project}
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in asked.get("files", [])]
        named = asked.get("input") if isinstance(asked.get("input"), dict) else {}
        artifact = {"id": named.get("clientID"), "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        manifest = {"id": "m1", "file": {"id": "f1", "uploadUrl": f"{self.url}/upload/manifest", "uploadHeaders": []}}
        stored = [
            {
                "storagePath": each["name"],
                "uploadUrl": f"{self.url}/upload/{each['name']}",
                "uploadHeaders": [],
                "artifact": {"id": each["artifactID"]},
            }
            for each in named.get("artifactFiles", [])
        ]
        return {
            "viewer": {"id": "u1", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}},
            "serverInfo": {"features": []},
            "model": {**project, "bucket": None},
            "entity": {"xxhashDigestsEnabled": False, "organization": None},
            "upsertBucket": {"bucket": run, "inserted": True},
            "createRunFiles": {"runID": "r1", "uploadHeaders": [], "files": files},
            "createArtifact": {"artifact": artifact},
            "createArtifactManifest": {"artifactManifest": manifest},
            "createArtifactFiles": {"files": {"edges": [{"node": each} for each in stored]}},
            "commitArtifact": {"artifact": {"id": asked.get("artifactID"), "digest": ""}},
            "useArtifact": {"artifact": {"id": "a1"}},
            "notifyScriptableRunAlert": {"success": True},
            "upsertView": {"view": {"id": "v1", "name": asked.get("name")}, "inserted": True},
        }


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(b"{}")

    def do_PUT(self) -> None:
        self.server.uploads[self.path.removeprefix("/upload/")] = self._body()
        self._answer(b"")

    def do_POST(self) -> None:
        body = json.loads(self._body())
        if self.path == "/graphql":
            found = OPERATION.search(body["query"])
            variables = body.get("variables") or {}
            self.server.asked.append((found.group(1) if found else "", variables))
            self._answer(json.dumps({"data": self.server.data(variables)}).encode())
        else:
            self.server.take_lines(self.path.split("/")[-2], body)
            self._answer(b"{}")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def wandb_standin() -> Iterator[Server]:
    """A server that runs for the block."""
    server = Server()
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
