"""Which runs change while they are looked at."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from rlef.run.state import marks
from rlef.view.runs import Library

_EVERY_S = 1.0
_BEATS = 15
"""After so many looks without news a reader is written to all the same: so one that is gone is
noticed."""


class Watch:
    """Looks at the files of all runs, as long as anybody listens.

    Args:
        library: The runs.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._looked, self._found = -math.inf, dict[str, Any]()

    async def events(self) -> AsyncIterator[dict[str, Any] | None]:
        """Yields runs that have changed, as ``{"id", "changed"}``, and ``None`` now and then."""
        known = await run_in_threadpool(self._look)
        silent = 0
        yield None
        while True:
            await asyncio.sleep(_EVERY_S)
            found = await run_in_threadpool(self._look)
            news = [run_id for run_id, mark in found.items() if known.get(run_id) != mark]
            news += [run_id for run_id in known if run_id not in found]
            for run_id in news:
                yield {
                    "id": run_id,
                    "changed": max((at for _, at in found.get(run_id, [])), default=None),
                }
            silent = 0 if news else silent + 1
            if silent >= _BEATS:
                silent = 0
                yield None
            known = found

    def _look(self) -> dict[str, Any]:
        """Marks of all runs; for several readers at once those of one look."""
        with self._lock:
            if time.monotonic() - self._looked >= _EVERY_S / 2:
                runs = [one for one in self._library.folders.all() if one.kind == "run"]
                self._found = {each.id: marks(self._library.of(each).folder) for each in runs}
                self._looked = time.monotonic()
            return self._found
