"""The service's own API: judge one program, judge many, say what judges."""

import asyncio
import platform
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from rlef import __version__
from rlef.sandbox import JudgeJob, SandboxError
from rlef.serve.answers import Desk, Manners, answered
from rlef.serve.errors import NotJudgedError, RefusedError, StoppingError
from rlef.serve.schema import JudgeManyRequest, JudgeRequest, json_bytes, judged, parsed, to_job
from rlef.serve.service import AHEAD

_MANNERS = Manners(error=lambda why: {"error": why})


class OwnApi:
    """Answers of the API.

    Args:
        desk: Takes requests.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._service = desk.service
        self._settings = desk.settings
        self._began = time.time()

    def routes(self) -> list[Route]:
        """All of them but the schema."""
        return [
            Route("/v1/judge", self._desk.post(self._judge, _MANNERS), methods=["POST"]),
            Route("/v1/judge_many", self._desk.post(self._many, _MANNERS), methods=["POST"]),
            Route("/v1/info", self._info),
            Route("/health", self._health),
            Route("/ready", self._ready),
            Route("/metrics", self._metrics),
        ]

    async def _judge(self, request: Request, body: Any) -> Response:
        asked = parsed(JudgeRequest, body)
        job = to_job(asked, self._settings)
        try:
            report = await self._service.judge(
                job, deadline_s=asked.deadline_s, key=asked.key, gone=request.is_disconnected
            )
        except NotJudgedError as error:
            return answered({"not_judged": str(error)}, _MANNERS.late)
        return answered(judged(report))

    async def _many(self, request: Request, body: Any) -> Response:
        asked = parsed(JudgeManyRequest, body)
        jobs: list[tuple[JudgeJob, str | None]] = []
        for place, one in enumerate(asked.jobs):
            try:
                jobs.append((to_job(one, self._settings), one.key))
            except RefusedError as error:
                raise RefusedError(error.status, f"jobs[{place}]: {error}") from None
        lines = self._lines(jobs, asked.deadline_s)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    async def _lines(
        self, jobs: list[tuple[JudgeJob, str | None]], deadline_s: float | None
    ) -> AsyncIterator[bytes]:
        """A line per job as it is judged; few are in the queue at once, so others have turns."""
        todo = iter(enumerate(jobs))
        running: set[asyncio.Task[bytes]] = set()
        most = 2 * AHEAD * self._settings.workers
        try:
            while True:
                while len(running) < most and (following := next(todo, None)) is not None:
                    place, (job, key) = following
                    running.add(asyncio.create_task(self._line(place, job, key, deadline_s)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                yield b"".join(task.result() for task in done)
        finally:
            for task in running:
                task.cancel()

    async def _line(
        self, place: int, job: JudgeJob, key: str | None, deadline_s: float | None
    ) -> bytes:
        value: dict[str, Any]
        try:
            value = judged(
                await self._service.judge(job, deadline_s=deadline_s, key=key, patient=True)
            )
        except (NotJudgedError, StoppingError) as error:
            value = {"not_judged": str(error)}
        except (SandboxError, RefusedError) as error:
            value = {"error": str(error)}
        return json_bytes({"place": place, **value}) + b"\n"

    async def _info(self, request: Request) -> Response:
        settings, isolation = self._settings, self._service.isolation
        return answered(
            {
                "rlef": __version__,
                "python": platform.python_version(),
                "languages": sorted(self._service.languages),
                "isolation": {} if isolation is None else asdict(isolation),
                "workers": settings.workers,
                "limits": {
                    "body_mb": settings.max_body_mb,
                    "queue": settings.max_queue,
                    "cpu_s": settings.max_seconds,
                    "memory_mb": settings.max_memory_mb,
                    "output_kb": settings.max_output_kb,
                    "deadline_s": settings.deadline_s,
                },
            }
        )

    async def _health(self, request: Request) -> Response:
        return answered({"status": "healthy"})

    async def _ready(self, request: Request) -> Response:
        if self._service.stopping:
            return answered({"error": "the service is stopping"}, 503)
        if self._service.isolation is None:
            return answered({"error": "no program has been judged yet"}, 503)
        return answered({"status": "ready"})

    async def _metrics(self, request: Request) -> Response:
        now: dict[str, tuple[str, float]] = {
            "queue": ("Programs that wait.", self._service.waiting),
            "running": ("Programs in the judge.", self._service.running),
            "workers": ("Jails.", self._settings.workers),
            "start_time_seconds": ("When the service began.", self._began),
        }
        text = self._service.metrics.text(now)
        return Response(text, media_type="text/plain; version=0.0.4")
