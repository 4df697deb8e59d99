"""A stand-in for the Hugging Face Hub on this machine: what ``huggingface_hub`` asks to upload."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HubServer:
    """Takes repositories of the user ``me``; files by repository and path."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.visibility: dict[str, str | None] = {}
        self.blobs: dict[str, bytes] = {}
        self.refuses_commits = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and headers."""
        path = path.partition("?")[0]
        words = path.strip("/").split("/")
        if path == "/api/whoami-v2":
            return 200, {"name": "me", "orgs": [{"name": "team"}], "type": "user"}, {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization'] or 'me'}/{asked['name']}"
            self.repositories.setdefault(name, {})
            self.visibility[name] = asked.get("visibility", asked.get("private"))
            return 200, {"url": f"{self.url}/{name}"}, {}
        if method == "PUT":
            self.blobs[words[-1]] = body
            return 200, {}, {}
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.url}/put/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}, {}
        name, rest = "/".join(words[2:4]), words[4:]
        if name not in self.repositories:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        if rest[:1] == ["tree"]:
            files = self.repositories[name]
            return 200, [{"type": "file", "path": p, "oid": "0", "size": 1} for p in files], {}
        if rest[:1] == ["preupload"]:
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return 200, {"files": modes}, {}
        if rest[:1] == ["commit"]:
            if self.refuses_commits:
                return 403, {"error": "Storage limit reached"}, {}
            self._commit(name, body)
            return 200, {"commitUrl": f"{self.url}/{name}/commit/1", "commitOid": "1"}, {}
        return 404, {"error": path}, {}

    def _commit(self, name: str, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                content = base64.b64decode(value["content"])
                self.repositories[name][value["path"]] = content
            elif entry["key"] == "lfsFile":
                self.repositories[name][value["path"]] = self.blobs[value["oid"]]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = self._chunks()
                status, value, headers = server.answer(self.command, self.path, body)
                data = json.dumps(value).encode()
                self.send_response(status)
                for key, text in headers.items():
                    self.send_header(key, text)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _chunks(self) -> bytes:
                found = b""
                while size := int(self.rfile.readline().strip(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found

            def log_message(self, *_: object) -> None:
                pass

            do_GET = do_POST = do_PUT = handle_any

        return Handler
