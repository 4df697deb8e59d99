"""Services for the tests: in a thread of this process, or as the command."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from rlef.sandbox import JudgeJob, JudgeReport, Sandbox, TestReport, Verdict
from rlef.serve.network import listen
from rlef.serve.server import Server
from rlef.serve.service import JudgeService
from rlef.serve.settings import ServeSettings

AC = JudgeReport(verdict=Verdict.AC, tests=(TestReport(verdict=Verdict.AC, stdout="4\n"),))


class ScriptedSandbox:
    """Judges nothing until it is told to."""

    def __init__(self, report: JudgeReport | None = AC) -> None:
        self.report = report
        self.jobs: list[JudgeJob] = []
        self.futures: list[Future[JudgeReport]] = []

    def submit(self, job: JudgeJob) -> Future[JudgeReport]:
        future: Future[JudgeReport] = Future()
        self.jobs.append(job)
        self.futures.append(future)
        if self.report is not None:
            future.set_result(self.report)
        return future

    def judge_pid(self) -> int:
        return 1


class ScriptedService(JudgeService):
    """Is ready at once."""

    async def warm_up(self) -> None:
        pass


@contextlib.contextmanager
def in_thread(service: JudgeService, settings: ServeSettings) -> Iterator[str]:
    """A service in a thread; gives its host and port."""
    ready = threading.Event()
    listening = listen("127.0.0.1", 0)
    where = f"127.0.0.1:{listening.getsockname()[1]}"
    server = Server(service, settings, lambda _: ready.set())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        assert ready.wait(60), "the service is not ready"
        yield where
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
    assert not thread.is_alive()


@contextlib.contextmanager
def scripted(settings: ServeSettings, sandbox: ScriptedSandbox | None = None) -> Iterator[str]:
    """A service in a thread that judges nothing."""
    box: Any = sandbox or ScriptedSandbox()
    with in_thread(ScriptedService(box, settings), settings) as where:
        yield where


@contextlib.contextmanager
def real(sandbox: Sandbox, settings: ServeSettings) -> Iterator[str]:
    """A service in a thread that judges."""
    with in_thread(JudgeService(sandbox, settings), settings) as where:
        yield where


class Command:
    """``rlef serve`` as a process."""

    def __init__(self, *words: str, port: int = 0, **environment: str) -> None:
        command = [sys.executable, "-m", "rlef.cli.main", "serve", "--port", str(port), *words]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=os.environ | environment, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://"), self.process.wait(10)
        self.where = self.url.removeprefix("http://")

    def end(self) -> int:
        """Kills it if it has not ended; gives its exit status."""
        self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(30)


def ask(where: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Sends a request; gives status, JSON (else text) and headers of the answer."""
    connection = http.client.HTTPConnection(where, timeout=60)
    words = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    data = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, data, words)
        answer = connection.getresponse()
        text = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        value = (
            json.loads(text) if found.get("content-type") == "application/json" else text.decode()
        )
        return answer.status, value, found


def job(source: str = "print(4)", **fields: Any) -> dict[str, Any]:
    """The JSON of a job with one test."""
    return {"source": source, "tests": [{"input": "2\n", "output": "4\n"}], **fields}


def until(true: Any, seconds: float = 30.0) -> None:
    """Waits until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)
