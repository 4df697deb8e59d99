"""One judge for a process, for code that runs in the processes of another trainer or evaluator."""

import os
from functools import lru_cache

from rlef.environment import AsyncJudge
from rlef.sandbox import Sandbox, usable_cores
from rlef.serve.client import RemoteJudge
from rlef.serve.settings import URL_VARIABLE


def shared_judge() -> AsyncJudge:
    """Returns this process's judge, for code that is handed none.

    It is the running ``rlef serve`` that ``RLEF_JUDGE_URL`` names, or else a ``Sandbox`` with a
    jail per core. Workers of other trainers are made by them, process by process: with many on one
    machine a service shares its cores better than a sandbox each.

    Raises:
        ValueError: The URL is none.
    """
    return _judge_of(os.getpid(), os.environ.get(URL_VARIABLE))


@lru_cache(maxsize=1)
def _judge_of(process: int, url: str | None) -> AsyncJudge:
    return AsyncJudge(RemoteJudge(url) if url else Sandbox(workers=usable_cores()))
