"""Judging on other machines: a ``JudgePool`` of judge actors, which need no torch."""

import os
import zlib
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray

from rlef.distributed.calls import Lost, result
from rlef.sandbox import JudgeJob, JudgeReport, Sandbox, Verdict
from rlef.sandbox.verdicts import same_for_all

_TRIES = 3


def where() -> tuple[str, int]:
    """Returns this machine's address and this process's number."""
    return ray.util.get_node_ip_address(), os.getpid()  # type: ignore[no-untyped-call]


class JudgeActor:
    """A ``Sandbox``."""

    def __init__(self, workers: int) -> None:
        self._sandbox = Sandbox(workers=workers)

    def where(self) -> tuple[str, int]:
        """Returns the machine's address and the process's number."""
        return where()

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        """Judges programs, see ``Sandbox.judge_many``."""
        return self._sandbox.judge_many(jobs)


class RemoteJudges:
    """Judges programs on judge actors: equal programs on the same one, which remembers reports.

    Ray makes an actor that dies anew, and runs its calls again. One that hangs is killed, and its
    programs go to the next one. After some tries a program is an infrastructure error.

    Args:
        actors: Of ``JudgeActor``.
        timeout_s: A call that takes longer is a hang.
    """

    def __init__(self, actors: Sequence[Any], timeout_s: float) -> None:
        self._actors = list(actors)
        self._timeout_s = timeout_s

    def judge_many(self, jobs: Sequence[JudgeJob]) -> list[JudgeReport]:
        """Judges programs, see ``Sandbox.judge_many``."""
        found: dict[int, JudgeReport] = {}
        why = ""
        for attempt in range(_TRIES):
            shares: defaultdict[int, list[int]] = defaultdict(list)
            for place, job in enumerate(jobs):
                if place not in found:
                    number = zlib.crc32(job.source.encode("utf-8", "surrogatepass")) + attempt
                    shares[number % len(self._actors)].append(place)
            calls = {
                number: self._actors[number].judge_many.remote([jobs[place] for place in places])
                for number, places in shares.items()
            }
            for number, call in calls.items():
                try:
                    reports = result(call, self._timeout_s, "judging")
                except Lost as lost:
                    why = str(lost)
                    with suppress(Exception):
                        ray.kill(self._actors[number], no_restart=False)
                else:
                    found.update(zip(shares[number], reports, strict=True))
            if len(found) == len(jobs):
                break
        for place, job in enumerate(jobs):
            if place not in found:
                found[place] = same_for_all(Verdict.IE, f"no judge: {why}", job)
        return [found[place] for place in range(len(jobs))]
