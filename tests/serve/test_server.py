"""A service over HTTP: verdicts, refusals, bad callers, its end."""

import contextlib
import json
import os
import random
import signal
import socket
import string
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serving import Command, ScriptedSandbox, ask, job, scripted, until

from rlef.problems import Test
from rlef.sandbox import JudgeJob, JudgeReport, Limits, Sandbox, Verdict
from rlef.serve import RemoteJudge
from rlef.serve import server as server_module
from rlef.serve.settings import ServeSettings

QUICK = Limits(cpu_s=0.5, memory_mb=128, output_kb=16)
PROGRAMS = [
    "print(2 * int(input()))",
    "print(input())",
    "print(",
    "1 / 0",
    "while True: pass",
    "x = [0] * 10**9",
    "print('x' * 10**6)",
    "import os; os.abort()",
    "raise SystemExit(3)",
    "# \ud800\nprint('\\xe9', '\\0')",
]


def jobs() -> list[JudgeJob]:
    tests = Test("2\n", "4\n"), Test("3", "6")
    made = [JudgeJob(source=source, tests=tests, limits=QUICK) for source in PROGRAMS]
    made += [replace(one, stop_at_first_failure=True) for one in made]
    made += [replace(made[0], checker="any"), replace(made[1], tests=tests * 40)]
    doubled = "def double(a): return 2 * a"
    calls = Test("[2]", "4"), Test("[3]", "7"), Test('{"call": "double(1)"}', "2")
    made.append(JudgeJob(source=doubled, tests=calls, mode="function", entry_point="double"))
    made.append(JudgeJob(source="#include <cstdio>\nint main() {", tests=tests, language="cpp"))
    return made


def without_times(report: JudgeReport) -> JudgeReport:
    """Without what a busy machine may change."""
    tests = [replace(test, cpu_s=0.0, wall_s=0.0, memory_mb=0.0) for test in report.tests]
    if report.verdict is Verdict.OLE:  # killed, or at its end before anybody looked
        tests = [replace(test, exit_status=None, signal=None) for test in tests]
    return replace(report, tests=tuple(tests))


def test_verdicts_are_those_of_the_judge_here(sandbox: Sandbox, where: str) -> None:
    with Sandbox(workers=2) as own, RemoteJudge(f"http://{where}") as remote:
        here = [without_times(report) for report in own.judge_many(jobs())]
        there = [without_times(report) for report in remote.judge_many(jobs())]
        streamed = {place: without_times(report) for place, report in remote.judge_stream(jobs())}
    assert there == here
    assert streamed == dict(enumerate(here))
    assert {report.verdict for report in here} == set(Verdict) - {Verdict.IE}


def test_one_program(where: str) -> None:
    status, value, _ = ask(where, "/v1/judge", job(key="one"))
    assert status == 200 and value["report"]["verdict"] == "AC" and "not_judged" not in value
    assert value["report"]["tests"][0]["exit_status"] == 0
    assert ask(where, "/v1/judge", job(key="one"))[1] == value  # times too: judged once
    other = job("print(5)", key="one")
    assert ask(where, "/v1/judge", other)[0] == 422


def test_many_programs_come_as_lines(where: str) -> None:
    slow = job("import time; time.sleep(2); print(4)")
    status, text, headers = ask(where, "/v1/judge_many", {"jobs": [slow, job("print(4)#")]})
    assert status == 200 and headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["place"] for line in lines] == [1, 0]
    assert {line["report"]["verdict"] for line in lines} == {"AC"}
    status, value, _ = ask(where, "/v1/judge_many", {"jobs": [job(), job(checker="x")]})
    assert (status, value["error"][:32]) == (422, "jobs[1]: unknown checker 'x'; al")


def test_a_deadline_that_passes_is_no_failed_test(where: str) -> None:
    slow = job("while True: pass", deadline_s=0.2, limits={"cpu_s": 2.0})
    status, value, _ = ask(where, "/v1/judge", slow)
    assert (status, value) == (504, {"not_judged": "the deadline of 0.2 s passed"})
    del slow["deadline_s"]
    other = slow | {"key": "s", "source": "while True: pass  # not the one that runs already"}
    _, text, _ = ask(where, "/v1/judge_many", {"jobs": [other], "deadline_s": 0.2})
    assert json.loads(text) == {"place": 0, "not_judged": "the deadline of 0.2 s passed"}


def test_what_it_is(where: str) -> None:
    assert ask(where, "/health")[:2] == (200, {"status": "healthy"})
    assert ask(where, "/ready")[:2] == (200, {"status": "ready"})
    info = ask(where, "/v1/info")[1]
    assert {"python", "cpp"} <= set(info["languages"]) and info["workers"] == 2
    assert ask(where, "/openapi.json")[1]["openapi"] == "3.1.0"
    _, text, headers = ask(where, "/metrics")
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in text.splitlines():
        name, _, value = line.removeprefix("# TYPE ").removeprefix("# HELP ").rpartition(" ")
        assert name.startswith("rlef_judge_") and (line[0] == "#" or float(value) >= 0)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/judge", b"{", {}, 400),
        ("/v1/judge", b"[" * 100_000, {}, 400),
        ("/v1/judge", b"[]", {}, 422),
        ("/v1/judge", b'{"source": "' + b"x" * (3 << 20) + b'"}', {}, 413),
        ("/v1/judge", b"{}", {"Content_Type": "text/plain"}, 415),
        ("/v1/judge", b"\x1f\x8b\x08", {"Content_Encoding": "gzip"}, 415),
        ("/v1/judge", b'{"%s": 1}' % (b"z" * 100_000), {}, 422),
        ("/v1/judge", b"{}", {"Host": "evil.example"}, 403),
        ("/v1/judge", None, {}, 405),
        ("/nothing", b"{}", {}, 404),
        ("/run_code", b'{"code": 1}', {}, 422),
        ("/test_program", b'{"program": "x", "tests": 3}', {}, 422),
        ("/api/v2/execute", b'{"language": "go", "version": "*", "files": []}', {}, 400),
    ],
)
def test_wrong_requests_get_one_line(
    path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    with scripted(ServeSettings(max_body_mb=2.0)) as where:
        found, value, _ = ask(where, path, body, **headers)
    words = value.get("error") or value.get("detail") or value.get("message")
    assert found == status and words and "\n" not in words and len(words) < 1100


def test_only_who_knows_the_token_is_served() -> None:
    with scripted(ServeSettings(token="se:cret")) as where:
        assert ask(where, "/health")[0] == 200
        for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic ?"}):
            assert ask(where, "/v1/judge", job(), **headers)[0] == 401
        assert ask(where, "/v1/judge", job(), Authorization="Bearer se:cret")[0] == 200
        basic = "Basic cmxlZjpzZTpjcmV0"  # rlef:se:cret
        headers = {"Authorization": basic, "Host": "judge.example"}
        assert ask(where, "/v1/judge", job(), **headers)[0] == 200
        with RemoteJudge(f"http://rlef:se%3Acret@{where}") as remote:
            assert remote.judge_many([jobs()[0]])[0].passed


def test_a_full_queue_says_when_to_come_back() -> None:
    box = ScriptedSandbox(None)
    with scripted(ServeSettings(workers=1, max_queue=1), box) as where:
        with ThreadPoolExecutor(8) as threads:
            waiting = [threads.submit(ask, where, "/v1/judge", job(f"{i}")) for i in range(5)]
            until(lambda: "queue 1" in metrics(where))
            status, _, headers = ask(where, "/v1/judge", job("more"))
            assert status == 429 and int(headers["retry-after"]) >= 1
            while not all(one.done() for one in waiting):
                for future in box.futures:
                    if not future.done():
                        future.set_result(AC_REPORT)
                time.sleep(0.01)
        assert {one.result()[0] for one in waiting} == {200}


AC_REPORT = JudgeReport(verdict=Verdict.AC, tests=())


def metrics(where: str) -> str:
    return str(ask(where, "/metrics")[1])


def raw(where: str, data: bytes) -> socket.socket:
    host, _, port = where.partition(":")
    found = socket.create_connection((host, int(port)), timeout=30)
    with contextlib.suppress(ConnectionError):  # it may be cut off before it has said all
        found.sendall(data)
    return found


HEAD = b"POST /v1/judge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (HEAD + b"Content-Length: 104857600\r\n\r\n" + b"x" * 70_000, b"HTTP/1.1 413"),
        (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n100001\r\n" + b" " * 0x100001 + b"\r\n",
            b"HTTP/1.1 413",
        ),
        (HEAD + b"Content-Length: -5\r\n\r\n{}", b"HTTP/1.1 400"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"HTTP/1.1 400"),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", b""),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", b"HTTP/1.1 400"),
        (b"what?\r\n\r\n", b"HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HTTP/1.1 400"),
        (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
        (HEAD + b"Content-Length: 500\r\n\r\n{", b""),
        (HEAD + b"Content-Length: 500\r\n", b""),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n", b""),
    ],
)
def test_bad_callers_leave_it_up(data: bytes, answer: bytes) -> None:
    with scripted(ServeSettings(max_body_mb=1.0)) as where:
        connections = [raw(where, data) for _ in range(3)]
        for connection in connections:
            with contextlib.closing(connection), contextlib.suppress(ConnectionError):
                if answer:
                    assert connection.recv(1000)[: len(answer)] in (answer, b"")
        assert ask(where, "/v1/judge", job())[0] == 200


def test_headers_without_end_are_cut_off() -> None:
    with scripted(ServeSettings()) as where:
        endless = raw(where, b"GET /health HTTP/1.1\r\nX: ")
        with contextlib.closing(endless), contextlib.suppress(ConnectionError):
            for _ in range(64):
                endless.sendall(b"a" * (1 << 20))
            raise AssertionError("64 MB of a header were taken")
        assert ask(where, "/v1/judge", job(source="#" * 500_000))[0] == 200


def test_headers_behind_a_body_are_not_kept() -> None:
    with scripted(ServeSettings()) as where:
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        before = _resident_mb()
        with contextlib.closing(raw(where, head)) as connection:
            with contextlib.suppress(ConnectionError):
                for _ in range(8):
                    connection.sendall(b"X: a\r\n" * (1 << 19))
                connection.sendall(b"\r\n")
            assert ask(where, "/v1/judge", job())[0] == 200
        assert _resident_mb() - before < 150


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def test_slow_callers_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(ServeSettings(body_s=0.2)) as where:
        again = raw(where, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = b""
        while not found.endswith(b"}"):
            more = again.recv(1000)
            assert more, found
            found += more
        with contextlib.closing(raw(where, HEAD + b"Content-Length: 500\r\n\r\n{")) as body:
            assert body.recv(1000).startswith(b"HTTP/1.1 408")
        with monkeypatch.context() as patch:
            patch.setattr(server_module, "HEADERS_S", 0.2)
            silent, started = raw(where, b""), raw(where, HEAD)
            with contextlib.suppress(ConnectionError):
                again.sendall(b"GET")
            for connection in (silent, started, again):
                with contextlib.closing(connection), contextlib.suppress(ConnectionError):
                    assert connection.recv(1000) == b""
        assert ask(where, "/v1/judge", job())[0] == 200


def test_a_flood_of_idle_connections_is_bounded() -> None:
    with scripted(ServeSettings(max_connections=50)) as where:
        idle = [raw(where, b"") for _ in range(60)]
        until(lambda: ask(where, "/health")[0] == 503)
        for connection in idle:
            connection.close()
        until(lambda: ask(where, "/health")[0] == 200)


def test_requests_that_hold_too_much_memory_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServeSettings, "max_held", property(lambda self: 3000))
    box = ScriptedSandbox(None)
    with scripted(ServeSettings(), box) as where, ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask, where, "/v1/judge", job("#" * 2000))
        until(lambda: box.futures)
        assert ask(where, "/v1/judge", job("#" * 2000 + "2"))[0] == 429
        box.futures[0].set_result(AC_REPORT)
        assert first.result()[0] == 200
        box.report = AC_REPORT
        assert ask(where, "/v1/judge", job("#" * 2000 + "3"))[0] == 200


def test_requests_that_have_not_arrived_hold_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServeSettings, "max_held", property(lambda self: 3000))
    with scripted(ServeSettings()) as where:
        half = raw(where, HEAD + b"Content-Length: 2500\r\n\r\n" + b" " * 2400)
        until(lambda: ask(where, "/v1/judge", job("#" * 1000))[0] == 429)
        half.close()
        until(lambda: ask(where, "/v1/judge", job("#" * 1000))[0] == 200)


def test_requests_of_many_programs_hold_memory_to_the_last_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ServeSettings, "max_held", property(lambda self: 3000))
    box = ScriptedSandbox(None)
    with scripted(ServeSettings(), box) as where, ThreadPoolExecutor(1) as threads:
        many = {"jobs": [job("#" * 2000), job("2")]}
        first = threads.submit(ask, where, "/v1/judge_many", many)
        until(lambda: len(box.futures) == 2)
        box.futures[0].set_result(AC_REPORT)
        assert ask(where, "/v1/judge", job("#" * 1000))[0] == 429
        box.futures[1].set_result(AC_REPORT)
        assert len(first.result()[1].splitlines()) == 2
        box.report = AC_REPORT
        until(lambda: ask(where, "/v1/judge", job("#" * 1000))[0] == 200)


@pytest.fixture(scope="module")
def fuzzer() -> random.Random:
    return random.Random(0)


def test_noise_leaves_it_up(fuzzer: random.Random) -> None:
    """Requests with something changed at random: an answer in one line, or none."""
    good = HEAD + b"Content-Length: %d\r\n\r\n"
    body = json.dumps(job()).encode()
    whole = good % len(body) + body
    with scripted(ServeSettings()) as where:
        for _ in range(60):
            noise = bytearray(whole)
            for _ in range(fuzzer.randint(1, 4)):
                noise[fuzzer.randrange(len(noise))] = fuzzer.choice(string.printable.encode())
            with contextlib.closing(raw(where, bytes(noise))) as connection:
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    found = connection.recv(10_000)
                    assert b"Traceback" not in found and b" 500 " not in found[:20]
        assert ask(where, "/v1/judge", job())[0] == 200


# --- the command ---


def test_sigterm_ends_what_runs_and_refuses_the_rest() -> None:
    command = Command("--workers", "1")
    try:
        slow = job("import time; time.sleep(5); print(4)")
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(ask, command.where, "/v1/judge", slow)
            until(lambda: "running 1" in metrics(command.where))
            command.process.send_signal(signal.SIGTERM)
            until(lambda: ask(command.where, "/ready")[0] == 503)
            status, value, headers = ask(command.where, "/v1/judge", job())
            assert (status, value) == (503, {"error": "the service is stopping"})
            assert headers["retry-after"] and headers["connection"] == "close"
            assert answer.result()[1]["report"]["verdict"] == "AC"
        assert command.process.wait(20) == 143
    finally:
        command.end()


def test_killed_judges_and_a_killed_service_are_not_seen(tmp_path: Any) -> None:
    """A few dozen programs while the judge, and once the service, are killed."""
    many = [
        JudgeJob(source=f"print({i})", tests=(Test("", f"{i}"), Test("", "-1"))) for i in range(60)
    ]
    command = Command("--workers", "2")
    port = int(command.where.rpartition(":")[2])
    stop = threading.Event()

    def kill() -> None:
        for i in range(3):
            stop.wait(0.3)
            for child in children(command.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            if i == 1:
                command.process.kill()
                command.process.wait()
                started.append(Command("--workers", "2", port=port))

    started: list[Command] = []
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with RemoteJudge(command.url) as remote, ThreadPoolExecutor(6) as threads:
            reports = list(threads.map(lambda one: remote.judge_many([one])[0], many))
        killer.join()
        assert [report.tests[0].verdict for report in reports] == ["AC"] * 60
        assert {report.verdict for report in reports} == {Verdict.WA}
    finally:
        killer.join()
        for one in (command, *started):
            one.end()


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return list(map(int, file.read().split()))
    return []
