import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from rlef import extras
from rlef.run import RunFolder

pytest.importorskip("duckdb", reason="the viewer's packages are not installed")


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages in place of those that are built."""
    static = tmp_path / "static"
    static.mkdir()
    (static / "index.html").write_text("<title>built</title>")
    monkeypatch.setattr("rlef.view.app.STATIC", static)
    return static


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere does not exist; allowed: folders of runs"),
        (["file"], "file is a file; allowed: folders of runs"),
        ([], "runs does not exist"),
        (["here", "--port", "70000"], "--port"),
        (["here", "--host", "203.0.113.7"], "cannot listen at 203.0.113.7 port"),
        (["here", "--host", "a..b"], "cannot listen at a..b port"),
    ],
)
def test_wrong_words_are_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    built: Path,
    monkeypatch: pytest.MonkeyPatch,
    rlef: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    Path("file").touch()
    code, out, err = rlef("view", "--no-browser", *words)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err


def test_a_port_that_is_taken(tmp_path: Path, built: Path, rlef: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, err = rlef("view", str(tmp_path), "--port", port)
    assert code == 2 and f"port {port}" in err and "--port 0 finds one" in err


def test_what_is_not_there_says_how_to_get_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rlef: Any,
) -> None:
    monkeypatch.setattr("rlef.view.app.STATIC", tmp_path)
    code, _, err = rlef("view", str(tmp_path))
    assert code == 2 and "npm ci && npm run build" in err
    monkeypatch.setitem(extras.NEEDS, "view", ("uvicorn", "no_such_package"))
    code, _, err = rlef("view", str(tmp_path))
    assert code == 2 and 'needs no_such_package; install with: pip install "rlef[view]"' in err


SERVE = """
import sys
from pathlib import Path
from typing import Any
import rlef.view.app
rlef.view.app.STATIC = Path(sys.argv[1])
from rlef.cli.main import main
main(["view", sys.argv[2], "--port", "0", *sys.argv[3:]])
"""


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_serves_until_it_is_stopped(
    tmp_path: Path, built: Path, sign: signal.Signals, code: int
) -> None:
    RunFolder.create(tmp_path / "runs" / "one", json.dumps({"name": "x"}))
    words = [sys.executable, "-c", SERVE, str(built), str(tmp_path / "runs"), "--no-browser"]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=env) as server:
        try:
            assert server.stdout is not None
            link = server.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", link)
            with urllib.request.urlopen(link, timeout=30) as page:
                assert b"built" in page.read()
            with urllib.request.urlopen(f"{link}api/runs", timeout=30) as answer:
                assert [run["id"] for run in json.load(answer)["runs"]] == ["runs/one"]
            live = urllib.request.urlopen(f"{link}api/live", timeout=30)  # stays open
            assert live.readline() == b": still here\n"
            server.send_signal(sign)
            out, err = server.communicate(timeout=30)
            live.close()
        finally:
            server.kill()
    assert (server.returncode, out, err) == (code, "", "stopped\n")
