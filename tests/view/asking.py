"""Asks the viewer, as its own page does."""

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from rlef.view.app import make_app
from rlef.view.folders import Folders


class Asker:
    """Asks the viewer of some folders, as its own page does."""

    def __init__(self, cache: Path, *folders: Path, **words: Any) -> None:
        app = make_app(Folders(folders), cache, **words)
        self.client = TestClient(app, base_url="http://127.0.0.1:8421")

    def __call__(self, path: str, *, expect: int = 200, **words: Any) -> Any:
        names = {"first": "from", "last": "to"}
        words = {names.get(key, key): value for key, value in words.items()}
        answer = self.client.get(f"/api/{path}", params=words)
        assert answer.status_code == expect, answer.text
        return answer.json()
