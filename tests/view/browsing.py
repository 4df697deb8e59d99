"""A real browser for tests: Debian's chromium, driven by playwright-core."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

VIEWER = Path(__file__).parents[2] / "viewer"
START_S = 90


def missing() -> str | None:
    """What a test in a browser lacks here; ``None``: nothing."""
    for program in ("node", "chromium"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not (VIEWER / "node_modules" / "playwright-core").is_dir():
        return "viewer/node_modules is not there: npm ci in viewer/"
    return None


class Browser:
    """One page.

    Args:
        base: Address of the server.
        profile: An empty folder.
    """

    def __init__(self, base: str, profile: Path) -> None:
        self.base = base
        chromium = shutil.which("chromium")
        assert chromium is not None
        self._process = subprocess.Popen(
            ["node", str(VIEWER / "tests" / "driver.mjs"), chromium, str(profile)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=VIEWER,
        )
        assert self._read() == {"ready": True}

    def __call__(self, command: str, **given: Any) -> Any:
        """Does what a line of ``driver.mjs`` says, and returns what it gave."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def open(self, link: str) -> None:
        """Opens a link of the viewer, as one that is typed, and waits until it is drawn."""
        self("goto", url="about:blank")
        self("goto", url=f"{self.base}/{link}")
        self.settle()

    def settle(self) -> None:
        """Waits until nothing is being loaded.

        Right after a click the page before may still stand: wait for what the new one shows first.
        """
        busy = ".loading, .waiting, [aria-busy=true]"
        self(
            "wait",
            until=f"document.querySelector('h1, .notice') && !document.querySelector('{busy}')",
        )

    def wait_for(self, at: str, text: str) -> None:
        """Waits until an element shows a text."""
        found = f"[...document.querySelectorAll({json.dumps(at)})]"
        self("wait", until=f"{found}.some((one) => one.innerText.includes({json.dumps(text)}))")

    def close(self) -> None:
        """Ends the browser."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the browser ended"
        return json.loads(line)
