"""The client against services that break; and the commands and settings that take its URL."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from serving import ScriptedSandbox, scripted, until
from typer.main import get_command
from typer.testing import CliRunner

from rlef.cli import serve as serve_command
from rlef.cli.main import app
from rlef.config import ConfigError, load_config
from rlef.problems import Test
from rlef.sandbox import JudgeJob, Sandbox, SandboxError, Verdict
from rlef.serve import RemoteJudge, open_judge
from rlef.serve.settings import PORT, TOKEN_VARIABLE, ServeSettings
from rlef.train.recipe import TrainConfig

AC = {
    "verdict": "AC",
    "tests": [
        {
            **{"verdict": "AC", "cpu_s": 0.1, "wall_s": 0.1, "memory_mb": 9.0, "stdout": "4"},
            **{"stderr": "", "message": "", "exit_status": 0, "signal": None},
        }
    ],
}
Reply = Callable[[BaseHTTPRequestHandler, Any], None]


class Scripted(ThreadingHTTPServer):
    """Answers requests one after the other as it is told; the last one again and again."""

    daemon_threads = True

    def __init__(self, *replies: Reply) -> None:
        self.bodies: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                place = min(len(outer.bodies), len(replies) - 1)
                outer.bodies.append(body)
                replies[place](self, body)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> "Scripted":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


def says(status: int, value: Any, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, body: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.end_headers()
        handler.wfile.write(data)

    return reply


def hangs_up(handler: BaseHTTPRequestHandler, body: Any) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def breaks_off_after(count: int, *values: Any) -> Reply:
    """Lines for the first jobs of a request, then nothing, not even the end."""

    def reply(handler: BaseHTTPRequestHandler, body: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for place in range(min(count, len(body["jobs"]))):
            line = json.dumps({"place": place, "report": AC}).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if count >= len(body["jobs"]):
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.wfile.write(b"ff\r\n{")
            hangs_up(handler, body)

    return reply


def one(source: str = "print(4)") -> JudgeJob:
    return JudgeJob(source=source, tests=(Test("", "4"),))


FINE = says(200, {"report": AC})


@pytest.mark.parametrize(
    "failure",
    [
        hangs_up,
        says(429, {"error": "full"}, Retry_After="0"),
        says(503, {"error": "stopping"}, Connection="close"),
        says(500, b"no json"),
        says(502, b"<html>"),
        says(504, {"not_judged": "the deadline passed"}),
    ],
)
def test_what_breaks_is_asked_again_under_the_same_key(failure: Reply) -> None:
    with Scripted(failure, failure, FINE) as service, RemoteJudge(service.url) as judge:
        assert judge.judge_many([one()])[0].passed
    assert len({body["key"] for body in service.bodies}) == 1 and len(service.bodies) == 3


def test_only_what_is_missing_is_asked_again() -> None:
    replies = breaks_off_after(2), hangs_up, breaks_off_after(9)
    with Scripted(*replies) as service, RemoteJudge(service.url) as judge:
        reports = judge.judge_many([one(f"{i}") for i in range(5)])
    assert [report.passed for report in reports] == [True] * 5
    asked = [[job["source"] for job in body["jobs"]] for body in service.bodies]
    assert asked == [list("01234"), list("234"), list("234")]
    keys = {job["source"]: set() for job in service.bodies[0]["jobs"]}  # type: ignore[var-annotated]
    for body in service.bodies:
        for job in body["jobs"]:
            keys[job["source"]].add(job["key"])
    assert all(len(found) == 1 for found in keys.values())


def test_what_is_too_long_together_is_asked_for_in_parts() -> None:
    long = says(413, {"error": "long"})
    with Scripted(long, breaks_off_after(99)) as service, RemoteJudge(service.url) as judge:
        assert all(report.passed for report in judge.judge_many([one("1"), one("2"), one("3")]))
    assert [len(body["jobs"]) for body in service.bodies] == [3, 1, 2]


def test_what_is_never_judged_is_the_infrastructures() -> None:
    late = says(504, {"not_judged": "too late"})
    with Scripted(late) as service, RemoteJudge(service.url) as judge:
        report = judge.judge_many([one()])[0]
    assert report.verdict is Verdict.IE and report.tests[0].message == "too late"
    assert len(service.bodies) == 3


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (says(422, {"error": "field 'x'"}), "does not take the job: field 'x'"),
        (says(413, {"error": "long"}), "does not take the job: long"),
        (says(401, {"error": "no"}), "refuses: no; the token can stand in RLEF_JUD"),
        (says(501, {"error": "no g++"}), "no g++"),
        (says(405, b"nginx"), "there is no rlef serve at http://127.0.0.1"),
        (says(301, b""), "there is no rlef serve at http://127.0.0.1"),
        (says(200, {"report": {"verdict": "?"}}), "gives no report of a judge: KeyE"),
        (says(404, b"nginx"), "there is no rlef serve at http://127.0.0.1"),
        (says(200, b"hello"), "there is no rlef serve at http://127.0.0.1"),
    ],
)
def test_what_cannot_work_is_said_at_once(reply: Reply, words: str) -> None:
    with Scripted(reply) as service, RemoteJudge(service.url) as judge:
        told = pytest.raises(SandboxError, match=words.replace("+", r"\+"))
        with told:
            judge.judge_many([one()])
    assert len(service.bodies) == 1


def test_what_is_never_judged_among_many_is_the_infrastructures() -> None:
    """Also where that took longer than the patience: the service did answer."""

    def late(handler: BaseHTTPRequestHandler, body: Any) -> None:
        lines = [{"place": i, "not_judged": "too late"} for i in range(len(body["jobs"]))]
        says(200, "\n".join(map(json.dumps, lines)).encode())(handler, body)

    with Scripted(late) as service, RemoteJudge(service.url, patience_s=0.0) as judge:
        reports = judge.judge_many([one("1"), one("2")])
    assert [report.tests[0].message for report in reports] == ["too late"] * 2
    assert len(service.bodies) == 3


def test_patience_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """And it is said before, once, what is waited for."""
    monkeypatch.setattr("rlef.serve.pace._SILENT_S", 0.0)
    told = pytest.raises(SandboxError, match=r"at http://127\.0\.0\.1:9 has given no answer for")
    with RemoteJudge("http://127.0.0.1:9", patience_s=2.0) as judge, told:
        judge.judge_many([one()])
    [record] = caplog.records
    assert record.message.startswith("the judge at http://127.0.0.1:9 has given no answer for ")


def test_a_stream_of_none_ahead_is_refused() -> None:
    with RemoteJudge("http://127.0.0.1:9") as judge:
        with pytest.raises(ValueError, match="ahead is 0; allowed: 1 or more"):
            list(judge.judge_stream([one()], ahead=0))
        assert list(judge.judge_stream([], ahead=None)) == []


def test_a_service_that_is_down_is_left_out_for_a_while() -> None:
    jobs = [one(f"{i}") for i in range(20)]
    with Scripted(FINE) as alive, RemoteJudge(f"http://127.0.0.1:9,{alive.url}") as judge:
        start = time.monotonic()
        assert all(report.passed for _, report in judge.judge_stream(jobs, ahead=1))
        assert [endpoint.is_down for endpoint in judge._endpoints] == [True, False]
        assert time.monotonic() - start < 5  # a wait for one program, not for each


def test_processes_do_not_share_connections() -> None:
    """A child of a fork that took a kept one would read the answers of its parent."""
    with Scripted(FINE) as service, RemoteJudge(service.url) as judge:
        judge.judge_many([one()])
        [endpoint] = judge._endpoints
        assert len(endpoint._idle) == 1
        kept = endpoint._idle[0].sock
        judge._owner = -1  # as after a fork
        judge.judge_many([one()])
        assert len(endpoint._idle) == 1 and endpoint._idle[0].sock is not kept
        kept.close()


def test_several_services_share_programs_and_stand_in_for_each_other() -> None:
    whole = breaks_off_after(99)
    with Scripted(whole) as first, Scripted(whole) as second:
        with RemoteJudge(f"{first.url}, {second.url}") as judge:
            judge.judge_many([one(f"{i}") for i in range(40)])
        shares = [{j["source"] for b in s.bodies for j in b["jobs"]} for s in (first, second)]
        assert all(shares) and not shares[0] & shares[1]
    with Scripted(FINE) as alive, RemoteJudge(f"http://127.0.0.1:9,{alive.url}") as judge:
        assert all(judge.judge_many([one(f"{i}")])[0].passed for i in range(4))


def test_closing_ends_what_waits() -> None:
    box = ScriptedSandbox(None)
    failed: list[BaseException] = []
    with scripted(ServeSettings(), box) as where:
        judge = RemoteJudge(f"http://{where}")

        def work() -> None:
            try:
                judge.judge_many([one()])
            except RuntimeError as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: box.futures)
        judge.close()
        thread.join(10)
        assert [str(error) for error in failed] == ["the judge is closed"]
        box.futures[0].cancel()


def test_an_invalid_job_is_told_before_any_runs() -> None:
    with Scripted(FINE) as service, RemoteJudge(service.url) as judge:
        with pytest.raises(ValueError, match="unknown checker"):
            judge.judge_many([one(), JudgeJob(source="", tests=(Test("", ""),), checker="x")])
        assert judge.judge_many([]) == []
    assert service.bodies == []


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "judge:8410",
            "ftp://a",
            "http://",
            "http://a:99999",
            "a,b",
            "http://a..b",
            "http://a b",
        ),
        *("http://a?x=1", "http://a/#b", "http://a/\xe9", "http://u:secret@a:99999"),
    ],
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="allowed: such as http://HOST:8410") as caught:
        RemoteJudge(url)
    assert "secret" not in str(caught.value)
    done = CliRunner().invoke(
        app, ["judge", "x.py", "--judge-url", url or "http://", "--data", "mini:test"]
    )
    assert done.exit_code == 2
    if url:
        with pytest.raises(ConfigError, match="allowed: such as http://HOST:8410"):
            load_config(TrainConfig, "mini", [f"judge.url={url}"])


def test_no_token_gets_into_the_folder_of_a_run() -> None:
    with pytest.raises(ConfigError, match="and the token in RLEF_JUDGE_TOKEN"):
        load_config(TrainConfig, "mini", ["judge.url=http://a:1,http://rlef:token@b:1"])


@pytest.mark.parametrize("token", ["\u20ac", "a\nb", "\xe9"])
def test_a_token_that_no_header_can_carry(token: str) -> None:
    for url, given in ((f"http://u:{quote(token)}@a", None), ("http://a", token)):
        with pytest.raises(ValueError, match="the token is not of printable ASCII"):
            RemoteJudge(url, token=given)


def test_nobody_there_is_told_within_a_second() -> None:
    start = time.monotonic()
    with pytest.raises(SandboxError, match=r"no judge answers at http://127\.0\.0\.1:9: conn"):
        open_judge("http://127.0.0.1:9", 2)
    assert time.monotonic() - start < 5
    judge = open_judge(None, 2)
    assert isinstance(judge, Sandbox)
    judge.close()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Path]:
    for name, text in {"try.py": "print(2 * int(input()))", "in": "2", "out": "4"}.items():
        (tmp_path / name).write_text(text)
    yield tmp_path / "try.py"


def test_the_commands_judge_there(where: str, program: Path, tmp_path: Path) -> None:
    words = ["--judge-url", f"http://{where}"]
    files = ["--input", str(tmp_path / "in"), "--expected", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["judge", str(program), *files, "--json", *words])
    assert done.exit_code == 0 and json.loads(done.stdout)["verdict"] == "AC"
    done = CliRunner().invoke(app, ["data", "check", "mini:test", "--limit", "2", "--json", *words])
    assert json.loads(done.stdout)["problems"] == 2 and len(json.loads(done.stdout)["programs"]) > 0


def test_judges_of_a_cluster_and_a_service_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"judge\.url is set, but cluster\.judge_actors is 1"):
        load_config(TrainConfig, "mini", ["judge.url=http://a:1", "cluster.judge_actors=1"])


def test_the_command_says_the_limits_that_hold() -> None:
    command: Any = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    told = {option.name: option.default for option in command.params}
    settings = ServeSettings()
    for name in ("max_queue", "max_body_mb", "max_seconds", "max_memory_mb"):
        assert told[name] == getattr(settings, name)
    assert (told["grace"], told["port"]) == (settings.grace_s, PORT)
    assert serve_command.TOKEN_VARIABLE == TOKEN_VARIABLE


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--host", "0.0.0.0"], "--host is 0.0.0.0, beyond this machine, and there is no token"),
        (["--token-file", "{tmp}/none"], "No such file"),
        (["--token-file", "{tmp}/empty"], "empty: its first line is empty"),
        (["--token-file", "{tmp}/odd"], "odd: the token is not of printable ASCII"),
        (["--host", "a..b", "--token-file", "{tmp}/token"], "cannot listen at a..b port 0 ("),
        (["--workers", "0"], "'--workers'"),
    ],
)
def test_words_of_serve(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RLEF_JUDGE_TOKEN", raising=False)
    (tmp_path / "empty").touch()
    (tmp_path / "odd").write_text("\u20ac")
    (tmp_path / "token").write_text("\ufefftoken\r\nmore")
    given = [word.replace("{tmp}", str(tmp_path)) for word in words]
    done = CliRunner().invoke(app, ["serve", "--port", "0", *given])
    assert done.exit_code != 0
    assert line in f"{done.output}{done.exception}{getattr(done.exception, 'strerror', '')}"
