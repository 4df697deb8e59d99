"""Who is answered, and what is never shown."""

import os
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from made_runs import make_training
from starlette.testclient import TestClient

from rlef.view.app import make_app
from rlef.view.folders import Folders


def client(shown: Path, cache: Path, **words: Any) -> TestClient:
    app = make_app(Folders([shown]), cache, port=8421, **words)
    return TestClient(app, base_url="http://127.0.0.1:8421", follow_redirects=False)


@pytest.fixture(scope="module")
def local(shown: Path, cache: Path) -> TestClient:
    return client(shown, cache)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8421"}, 200),
        ({"host": "[::1]:8421"}, 200),
        ({"host": "localhost:9000"}, 200),  # through ssh -L
        ({"host": "evil.example"}, 403),  # a name that was made to lead here
        ({"host": "127.0.0.1.evil.example:8421"}, 403),
        ({"host": "192.168.0.7:8421"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://127.0.0.1:8421"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:80"}, 403),  # another server of this machine
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
    ],
    ids=str,
)
def test_requests_of_other_sites_are_refused(
    local: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = local.get("/api/runs", headers=headers)
    assert answer.status_code == status
    assert ("error" in answer.json()) == (status != 200)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(local: TestClient, method: str) -> None:
    assert local.request(method, "/api/runs").status_code == 405


@pytest.mark.parametrize(
    ("path", "status"), [("/api/live", 200), ("/", 200), ("/" + "a/" * 3000, 404)], ids=repr
)
def test_whoever_asks_for_headers_alone_is_not_kept(
    local: TestClient, path: str, status: int
) -> None:
    answer = local.head(path)
    assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize("path", ["/api/runs", "/api/nothing", "/nothing", "/"])
def test_every_answer_has_the_headers(local: TestClient, path: str) -> None:
    headers = local.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_beyond_this_machine_a_token_is_needed(shown: Path, cache: Path) -> None:
    far = client(shown, cache, host="0.0.0.0", token="t0ken")
    assert far.get("/api/runs").status_code == 401
    assert far.get("/").status_code == 401
    assert far.get("/api/runs?token=wrong").status_code == 401
    assert far.get("/api/runs", headers={"host": "evil.example"}).status_code == 403
    assert far.get("/api/runs?token=\u00fc").status_code == 401
    first = far.get("/?token=t0ken&a=b%26c", headers={"host": "192.168.0.7:8421"})
    assert first.status_code == 303 and first.headers["location"] == "/?a=b%26c"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    other = far.get("http://127.0.0.1:8421//evil.example/?token=t0ken")
    assert other.headers["location"] == "/evil.example/"
    name = cookie.partition("=")[0]
    answer = far.get("/api/runs", headers={"cookie": f"{name}=t0ken"})
    assert answer.status_code == 200
    assert far.get("/api/runs", headers={"cookie": f"{name}=t0ke"}).status_code == 401


@pytest.mark.parametrize(
    "way",
    [
        *("..", "one/..", "one/../one", "one/../../outside", "./one", "one/", "/one", "//one"),
        *("%2e%2e/outside", "one%2f..%2f..%2foutside", "notes", "notes/secret.txt", "one%00"),
        *("link", "inner", "dangling", "circle", "one/rollouts"),
    ],
)
def test_only_runs_in_the_given_folders_are_shown(tmp_path: Path, cache: Path, way: str) -> None:
    shown = tmp_path / "shown"
    make_training(tmp_path / "outside", batches=1, pending=0)
    make_training(shown / "one", batches=1, pending=0)
    (shown / "notes").mkdir()
    (shown / "notes" / "secret.txt").write_text("x")
    (shown / "link").symlink_to(tmp_path / "outside")
    (shown / "inner").mkdir()
    (shown / "inner" / "config.yaml").symlink_to(tmp_path / "outside" / "config.yaml")
    (shown / "dangling").symlink_to(tmp_path / "nowhere")
    (shown / "circle").symlink_to(shown / "circle")
    ask = Asker(cache, shown)
    assert [run["id"] for run in ask("runs")["runs"]] == ["shown/one"]
    for path in ("run", "metrics"):
        assert "no such run" in ask(path, id=f"shown/{way}", expect=404)["error"]
    ask("run", id="shown/one")


def test_files_of_a_run_that_lead_out_are_not_read(tmp_path: Path, cache: Path) -> None:
    outside = make_training(tmp_path / "outside", batches=2, pending=1)
    run = make_training(tmp_path / "shown" / "one", batches=1, pending=0)
    (run.rollouts_path / "secret.jsonl").symlink_to(outside.metrics_path)
    second = run.training_path / "batch-000001.parquet"
    second.symlink_to(outside.training_path / second.name)
    pending = run.training_path / "pending.bin"
    pending.unlink()
    pending.symlink_to(outside.training_path / pending.name)
    ask = Asker(cache, tmp_path / "shown")
    found = ask("run", id="shown/one")
    assert [(stage["name"], stage["episodes"]) for stage in found["stages"]] == [("train", 8)]
    ask("episodes", id="shown/one", stage="secret", expect=404)
    os.rename(run.metrics_path, run.path / "kept")
    run.metrics_path.symlink_to(outside.metrics_path)
    assert Asker(cache, tmp_path / "shown")("metrics", id="shown/one")["next"] == 0


def test_pages_come_from_the_built_front_end_only(
    local: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html>")
    (static / "assets" / "a-1.js").write_text("1")
    (tmp_path / "secret").write_text("x")
    (static / "out").symlink_to(tmp_path / "secret")
    monkeypatch.setattr("rlef.view.app.STATIC", static)
    page = local.get("/")
    assert page.text == "<!doctype html>" and page.headers["cache-control"] == "no-cache"
    assert "immutable" in local.get("/assets/a-1.js").headers["cache-control"]
    for path in ("/out", "/..%2fsecret", "/assets/../../secret", "/%00", "/assets"):
        assert local.get(path).status_code == 404, path
