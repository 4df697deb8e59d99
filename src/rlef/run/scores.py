"""What the learner knew of a few rollouts of each batch, for those who look at them.

::

    rollouts/train/scores-000012.parquet   beside batch-000012.parquet

Nothing is learnt from these files: a lost one is no damage.
"""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlef.run.files import Record, replace_file
from rlef.run.training import parquet_source

_NUMBERS = pa.list_(pa.float32())
SCORES = pa.schema(
    {
        "index": pa.int64(),
        "update": pa.int64(),
        "values": _NUMBERS,
        "returns": _NUMBERS,
        "advantages": _NUMBERS,
        "kl": _NUMBERS,
        "policy_logprobs": _NUMBERS,
        "ref_logprobs": _NUMBERS,
    }
)
"""A rollout: ``index`` of its request; ``update``, the learner's version that scored it. Of each
turn: ``values`` and ``returns`` (null without a critic), ``advantages``, ``kl``, the turn's KL
penalty in nats (null without a reference). Of each token, as in ``token_ids``, 0 where it was not
sampled: ``policy_logprobs`` and ``ref_logprobs`` (null without a reference)."""
_NAME = re.compile(r"scores-\d{6,}\.parquet")


def scores_path(folder: Path, number: int) -> Path:
    """Where the scores of a batch stand."""
    return folder / f"scores-{number:06d}.parquet"


def has_scores(folder: Path) -> bool:
    """Whether any batch has kept some."""
    return folder.is_dir() and any(_NAME.fullmatch(path.name) for path in folder.iterdir())


def write_scores(path: Path, rows: pa.Table) -> None:
    """Writes the scores of a batch whole, as ``SCORES``, in place of older ones.

    Raises:
        RunWriteError: They cannot be written.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(rows.cast(SCORES), sink, compression="zstd", use_dictionary=False)
    replace_file(path, bytes(sink.getvalue()))


def read_scores(path: Path, index: int) -> Record | None:
    """The scores of one rollout; ``None`` where there are none, or they cannot be read."""
    try:
        table = pq.read_table(parquet_source(path), filters=[("index", "=", index)])
        rows: list[Record] = table.cast(SCORES).to_pylist()
    except (pa.ArrowException, OSError, ValueError):
        return None
    return rows[0] if rows else None
