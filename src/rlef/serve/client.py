"""A judge elsewhere that stands for a ``Sandbox``: the client of ``rlef serve``."""

import logging
import os
import platform
import threading
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice
from typing import Any, Self

from rlef import __version__
from rlef.sandbox import JudgeJob, JudgeReport, Sandbox, SandboxError, Verdict
from rlef.sandbox.validation import validate
from rlef.sandbox.verdicts import same_for_all
from rlef.serve.endpoint import AgainError, Endpoint, TooLongError, check_urls
from rlef.serve.pace import Pace
from rlef.serve.schema import from_json, json_bytes, to_json
from rlef.serve.settings import TOKEN_VARIABLE

_log = logging.getLogger("rlef.serve")
_CHUNK_JOBS = 64
_CHUNK_BYTES = 4 << 20
"""Most of one request of many programs, so that little is sent again if it breaks."""
_TRIES = 3
"""Times that a program may come back not judged, before it is IE."""
_THREADS = 64
_TOLD_EVERY_S = 60.0


class RemoteJudge:
    """Judges programs at a running ``rlef serve``, with the verdicts of a ``Sandbox`` there.

    What breaks on the way (a service that restarts, a full queue, a lost connection) is tried
    again under the idempotency key of each program. All methods may be called from several threads
    at once.

    Args:
        url: Such as ``http://10.0.0.5:8410``. Several, with commas between, share the programs,
            equal ones at the same one.
        token: What the service wants to hear; ``None``: the password in the URL, else
            ``RLEF_JUDGE_TOKEN``, else nothing.
        timeout_s: Time that a program may take from request to report; then it is not judged.
        patience_s: Time without any answer after which the judge is given up.

    Raises:
        ValueError: The URL is none, or no header can carry the token.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 600.0,
        patience_s: float = 600.0,
    ) -> None:
        token = (token or os.environ.get(TOKEN_VARIABLE, "")).strip() or None
        self._endpoints = [Endpoint(one, token, timeout_s + 30.0) for one in check_urls(url)]
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._closed = threading.Event()
        self._tell_at = 0.0

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Gives up all that is asked for; the service stays."""
        self._begin_after_fork()
        self._closed.set()
        for endpoint in self._endpoints:
            endpoint.close()
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(cancel_futures=True)

    def check(self) -> None:
        """Asks each service who it is, once.

        Raises:
            SandboxError: One does not answer, or refuses.
        """
        for endpoint, info in zip(self._endpoints, self._info(), strict=True):
            theirs = [str(info.get("rlef")), str(info.get("python")).rpartition(".")[0]]
            ours = [__version__, platform.python_version().rpartition(".")[0]]
            if theirs != ours:
                _log.warning(
                    "the judge at %s is rlef %s on Python %s, here are %s and %s: verdicts may "
                    "differ",
                    *(endpoint.name, *theirs, *ours),
                )

    def languages(self) -> frozenset[str]:
        """The languages that all services can judge.

        Raises:
            SandboxError: One does not answer, or refuses.
        """
        return frozenset.intersection(
            *(frozenset(info.get("languages", ())) for info in self._info())
        )

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        """Judges many programs, see ``Sandbox.judge_many``.

        Raises:
            ValueError: A job is not valid.
            SandboxError: The service cannot judge a program, refuses, or gives no answers; or a
                job asks for more than the service's limits.
            RuntimeError: The judge is closed.
        """
        jobs = list(jobs)
        for job in jobs:
            validate(job)
        self._begin_after_fork()
        call = uuid.uuid4().hex
        whole = [_Asked(i, job, f"{call}-{i}") for i, job in enumerate(jobs)]
        if len(whole) == 1:
            return [self._one(whole[0])]
        found: dict[int, JudgeReport] = {}
        chunks = [chunk for share in self._shares(whole) for chunk in _chunks(share)]
        if len(chunks) == 1:
            found.update(self._chunk(chunks[0]))
        else:
            for future in [self._pool().submit(self._chunk, chunk) for chunk in chunks]:
                found.update(future.result())
        return [found[i] for i in range(len(whole))]

    def judge_stream(
        self, jobs: Iterable[JudgeJob], *, ahead: int | None = None
    ) -> Iterator[tuple[int, JudgeReport]]:
        """Judges programs and yields each report as it comes, see ``Sandbox.judge_stream``.

        Raises:
            ValueError: A job is not valid; reports of others have been given by then.
            SandboxError: The service cannot judge a program, refuses, or gives no answers.
            RuntimeError: The judge is closed.
        """
        todo = enumerate(jobs)
        self._begin_after_fork()
        most = _THREADS if ahead is None else ahead
        if most < 1:
            raise ValueError(f"ahead is {ahead}; allowed: 1 or more")
        call = uuid.uuid4().hex
        running: dict[Future[JudgeReport], int] = {}
        while True:
            for place, job in islice(todo, most - len(running)):
                validate(job)
                asked = _Asked(place, job, f"{call}-{place}")
                running[self._pool().submit(self._one, asked)] = place
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()

    def _begin_after_fork(self) -> None:
        """Leaves threads and connections to the process that this one was forked from.

        Two processes at one connection would take each other's reports.
        """
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._lock, self._threads = threading.Lock(), None
            for endpoint in self._endpoints:
                endpoint.forget()

    def _info(self) -> list[dict[str, Any]]:
        self._begin_after_fork()
        found = []
        for endpoint in self._endpoints:
            try:
                found.append(endpoint.get("/v1/info"))
            except AgainError as error:
                raise SandboxError(
                    f"no judge answers at {endpoint.name}: {error}; allowed: the address of a "
                    "running rlef serve"
                ) from None
        return found

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            self._refuse_closed()
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="rlef-remote")
            return self._threads

    def _refuse_closed(self) -> None:
        if self._closed.is_set():
            raise RuntimeError("the judge is closed")

    def _shares(self, asked: "Sequence[_Asked]") -> "list[list[_Asked]]":
        """The programs by the service that judges them."""
        shares: list[list[_Asked]] = [[] for _ in self._endpoints]
        for one in asked:
            shares[self._place(one)].append(one)
        return [share for share in shares if share]

    def _place(self, asked: "_Asked") -> int:
        source = asked.job.source.encode("utf-8", "surrogatepass")
        return zlib.crc32(source) % len(self._endpoints)

    def _one(self, asked: "_Asked") -> JudgeReport:
        body = json_bytes(to_json(asked.job, asked.key) | {"deadline_s": self._timeout_s})
        pace = Pace(self._patience_s, self._closed, self._tell)
        tries = 0
        while True:
            self._refuse_closed()
            endpoint = self._endpoint(asked, pace)
            try:
                answer = endpoint.post("/v1/judge", body)
            except AgainError as error:
                pace.wait(endpoint, error)
                continue
            pace.answered()
            report = _report(answer, endpoint)
            if report is not None:
                return report
            tries += 1
            if tries == _TRIES:
                return _not_judged(asked.job, answer)

    def _chunk(self, chunk: "Sequence[_Asked]") -> dict[int, JudgeReport]:
        """Judges some programs in one request, and in others what is missing then."""
        found: dict[int, JudgeReport] = {}
        tries = dict.fromkeys((one.place for one in chunk), 0)
        pace = Pace(self._patience_s, self._closed, self._tell)
        while missing := [one for one in chunk if one.place not in found]:
            self._refuse_closed()
            endpoint = self._endpoint(missing[0], pace)
            broken = AgainError("no lines came")
            try:
                for line in endpoint.lines("/v1/judge_many", self._body(missing)):
                    one = missing[line["place"]]
                    pace.answered()
                    if line.get("error"):
                        raise SandboxError(str(line["error"]))
                    report = _report(line, endpoint)
                    tries[one.place] += 1
                    if report is None and tries[one.place] == _TRIES:
                        report = _not_judged(one.job, line)
                    if report is not None:
                        found[one.place] = report
            except TooLongError:
                if len(missing) == 1:
                    raise
                half = len(missing) // 2
                return found | self._chunk(missing[:half]) | self._chunk(missing[half:])
            except AgainError as error:
                broken = error
            except (KeyError, IndexError, TypeError) as error:
                broken = AgainError(f"no lines of a judge: {error!r}")
            if len(found) < len(chunk):
                pace.wait(endpoint, broken)
        return found

    def _tell(self, endpoint: Endpoint, error: AgainError, silent_s: float) -> None:
        """Says what is waited for; not again soon, however many programs wait."""
        with self._lock:
            if time.monotonic() < self._tell_at:
                return
            self._tell_at = time.monotonic() + _TOLD_EVERY_S
        _log.warning(
            "the judge at %s has given no answer for %.0f s (%s); it is asked again for %.0f s",
            *(endpoint.name, silent_s, error, self._patience_s),
        )

    def _body(self, asked: "Sequence[_Asked]") -> bytes:
        jobs = [to_json(one.job, one.key) for one in asked]
        return json_bytes({"jobs": jobs, "deadline_s": self._timeout_s})

    def _endpoint(self, asked: "_Asked", pace: Pace) -> Endpoint:
        """The service of a program; after failures, or while that one is down, the next one."""
        first = (self._place(asked) + pace.failures) % len(self._endpoints)
        turn = [*self._endpoints[first:], *self._endpoints[:first]]
        return next((endpoint for endpoint in turn if not endpoint.is_down), turn[0])


class _Asked:
    """A program that is asked for."""

    def __init__(self, place: int, job: JudgeJob, key: str) -> None:
        self.place = place
        self.job = job
        self.key = key


def _report(answer: Any, endpoint: Endpoint) -> JudgeReport | None:
    """The report in an answer, ``None``: not judged.

    Raises:
        SandboxError: It is none, such as of a service of another version.
    """
    value = answer.get("report")
    try:
        return None if value is None else from_json(value)
    except ValueError as error:
        raise SandboxError(f"the judge at {endpoint.name} gives {error}") from None


def _not_judged(job: JudgeJob, answer: Any) -> JudgeReport:
    why = answer.get("not_judged") or "not judged"
    return same_for_all(Verdict.IE, str(why), job)


def _chunks(asked: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    """The programs in parts that make one request each."""
    chunk: list[_Asked] = []
    size = 0
    for one in asked:
        texts = sum(len(test.input) + len(test.output) for test in one.job.tests)
        length = len(one.job.source) + texts
        if chunk and (len(chunk) == _CHUNK_JOBS or size + length > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += length
    if chunk:
        yield chunk


AnyJudge = Sandbox | RemoteJudge
"""What ``open_judge`` opens."""


def open_judge(url: str | None, workers: int, token: str | None = None) -> AnyJudge:
    """Returns the judge to use; to be closed.

    Args:
        url: Of a running ``rlef serve``; ``None``: judge here.
        workers: Jails, if judged here.
        token: See ``RemoteJudge``.

    Raises:
        ValueError: The URL is none.
        SandboxError: No judge answers there.
    """
    if url is None:
        return Sandbox(workers=workers)
    judge = RemoteJudge(url, token=token)
    try:
        judge.check()
    except BaseException:
        with suppress(Exception):
            judge.close()
        raise
    return judge
