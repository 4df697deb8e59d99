"""``rlef`` that stops and waits to be killed once so many lines of rollouts are on disk.

python tests/until_killed.py LINES rlef's words ...
"""

import sys
import time
from collections.abc import Iterable, Mapping

from rlef.cli.main import main
from rlef.run import RunFolder

append, least = RunFolder.append_rollouts, int(sys.argv[1])


def appending(run: RunFolder, name: str, records: Iterable[Mapping[str, object]]) -> None:
    append(run, name, records)
    if run.rollout_path(name).read_bytes().count(b"\n") >= least:
        time.sleep(600)


RunFolder.append_rollouts = appending  # type: ignore[method-assign]
main(sys.argv[2:])
