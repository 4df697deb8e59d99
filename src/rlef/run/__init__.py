"""The run folder: the only writer and reader of a run's files.

::

    config.yaml           the resolved config
    metrics.jsonl         one line per update
    rollouts/             eval-before.jsonl, ...: one line per episode
    rollouts/train/       batch-000012.parquet, ...: one row per episode, with its tokens
    checkpoints/          update-000012/, ...
    summary.json          what the run came to
    report.html           made from the above
    rlef.log              what was shown on the way, with times

Whatever stands under its final name is whole, except that the end of a file that grows may be torn
when its writer is killed: what is torn is never read, and cut before more is added.
NaN and infinities are written as null.
"""

from rlef.run.files import (
    RunBusyError,
    RunDamagedError,
    RunError,
    RunExistsError,
    RunWriteError,
    json_value,
    writing,
)
from rlef.run.folder import Checkpoint, RunFolder, check_free_folder

__all__ = [
    "Checkpoint",
    "RunBusyError",
    "RunDamagedError",
    "RunError",
    "RunExistsError",
    "RunFolder",
    "RunWriteError",
    "check_free_folder",
    "json_value",
    "writing",
]
