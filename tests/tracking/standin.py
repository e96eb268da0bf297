"""A stand-in for W&B's server on the loopback: it answers what the client asks, and keeps what it sends.

The calls are those that the client of wandb 0.31 makes: GraphQL, the stream of history and summary, and
uploads to the addresses that earlier answers named. A call that it does not know is noted in ``unknown``.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

KEY = "0123456789" * 4
TEAM = "team"

Sent = dict[str, Any]
Answer = dict[str, Any]


@dataclass
class Recorded:
    """One run as the server knows it.

    Args:
        about: display name, group, job type, tags.
        config: plain nested values.
        own: what W&B itself keeps beside them.
        history: one line a step.
        summary: the newest values.
        files: path in the run -> content.
        ended: the exit code, once the run is over.
    """

    about: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    ended: int | None = None

    def column(self, key: str) -> list[tuple[int, Any]]:
        """(step, value) in the order in which they came."""
        return [(line["_step"], line[key]) for line in self.history if key in line]


@dataclass
class Artifact:
    """A version of an artifact; whole once the client has sent all of it."""

    kind: str
    files: dict[str, bytes] = field(default_factory=dict)
    whole: bool = False


class StandIn(ThreadingHTTPServer):
    """The server: ``runs`` by id, ``artifacts`` by name, ``views`` in the order in which they were saved."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs: dict[str, Recorded] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.views: list[dict[str, Any]] = []
        self.unknown: list[str] = []
        self.gone = False
        self.lock = threading.Lock()
        self.answers: dict[str, Callable[[Sent], Answer]] = {
            "Viewer": self._viewer,
            "GetDefaultEntity": self._viewer,
            "ServerFeaturesQuery": lambda _: {"serverInfo": {"features": []}},
            "UpsertBucket": self._upsert_run,
            "CreateRunFiles": self._run_files,
            "ArtifactType": lambda _: {"project": None},
            "CreateArtifact": self._artifact,
            "CreateArtifactManifest": self._manifest,
            "CreateArtifactFiles": self._artifact_files,
            "CommitArtifact": self._commit,
            "UpsertView2": self._view,
        }

    def answer(self, operation: str, sent: Sent) -> Answer:
        """The data that answers a GraphQL operation."""
        if operation not in self.answers:
            self.unknown.append(operation)
            return {}
        return self.answers[operation](sent.get("input", sent))

    def stream(self, run: str, sent: Sent) -> None:
        """Lines of a run; each piece says after how many lines it follows, and replaces what came after."""
        recorded = self.runs[run]
        for name, piece in sent.get("files", {}).items():
            if name == "wandb-history.jsonl":
                recorded.history[piece["offset"] :] = [json.loads(line) for line in piece["content"]]
            elif name == "wandb-summary.json":
                recorded.summary = json.loads(piece["content"][-1])
        if sent.get("complete"):
            recorded.ended = sent["exitcode"]

    def upload(self, path: str, content: bytes) -> None:
        """A file, at the address that an answer named."""
        kind, owner, name = path.split("/", 2)
        files = self.runs[owner].files if kind == "run" else self.artifacts[owner].files
        files[name] = content

    def hang_up(self) -> None:
        """Answer nobody from here on."""
        self.gone = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def _viewer(self, sent: Sent) -> Answer:
        return {"viewer": {"id": "1", "entity": TEAM, "username": "x", "flags": "{}", "teams": {"edges": []}}}

    def _upsert_run(self, sent: Sent) -> Answer:
        name = sent["name"]
        run = self.runs.setdefault(name, Recorded())
        run.about |= {key: value for key, value in sent.items() if value is not None}
        config = json.loads(sent["config"]) if sent.get("config") else {}
        run.own |= config.pop("_wandb", {"value": {}})["value"]
        run.config |= {key: held["value"] for key, held in config.items()}
        bucket = {"id": name, "name": name, "displayName": run.about["displayName"]}
        project = self._project(sent["project"])
        return {"upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": True}}

    def _run_files(self, sent: Sent) -> Answer:
        files = [{"name": f, "uploadUrl": f"{self.url}/run/{sent['run']}/{f}"} for f in sent["files"]]
        return {"createRunFiles": {"runID": sent["run"], "uploadHeaders": [], "files": files}}

    def _artifact(self, sent: Sent) -> Answer:
        name = sent["artifactCollectionName"]
        self.artifacts[name] = Artifact(kind=sent["artifactTypeName"])
        return {"createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": None}}}

    def _manifest(self, sent: Sent) -> Answer:
        manifest = {"id": "1", "file": self._place(sent["artifactID"], "manifest.json")}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def _artifact_files(self, sent: Sent) -> Answer:
        nodes = [self._place(wanted["artifactID"], wanted["name"]) for wanted in sent["artifactFiles"]]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _commit(self, sent: Sent) -> Answer:
        self.artifacts[sent["artifactID"]].whole = True
        return {"commitArtifact": {"artifact": {"id": sent["artifactID"], "digest": ""}}}

    def _view(self, sent: Sent) -> Answer:
        self.views.append(sent)
        identity = f"view of {sent['entityName']}/{sent['projectName']}"
        return {"upsertView": {"view": {"id": identity, "name": sent["name"]}, "inserted": True}}

    def _project(self, name: str) -> Answer:
        return {"id": "1", "name": name, "entity": {"id": "1", "name": TEAM}}

    def _place(self, artifact: str, name: str) -> Answer:
        url = f"{self.url}/artifact/{artifact}/{name}"
        owner = {"id": artifact}
        return {"id": name, "uploadUrl": url, "uploadHeaders": [], "storagePath": name, "artifact": owner}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def handle_one_request(self) -> None:
        if self.server.gone:
            raise ConnectionAbortedError
        super().handle_one_request()

    def do_POST(self) -> None:
        sent = json.loads(self._content())
        with self.server.lock:
            if self.path == "/graphql":
                operation = re.search(r"(?:query|mutation)\s+(\w+)", sent["query"])
                assert operation is not None
                self._reply({"data": self.server.answer(operation[1], sent.get("variables") or {})})
            else:
                self.server.stream(self.path.split("/")[4], sent)  # /files/TEAM/PROJECT/RUN/file_stream
                self._reply({})

    def do_PUT(self) -> None:
        content = self._content()
        with self.server.lock:
            self.server.upload(unquote(self.path.lstrip("/")), content)
        self._reply({})

    def _content(self) -> bytes:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    def _reply(self, answer: Answer) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """The server, at work for the length of the block."""
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
