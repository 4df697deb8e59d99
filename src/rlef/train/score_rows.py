"""Scores of a batch as rows of ``rlef.run.scores``."""

from collections.abc import Sequence
from dataclasses import fields

import pyarrow as pa

from rlef.learner.scores import RolloutScores
from rlef.run.scores import SCORES


def score_rows(indices: Sequence[int], scores: Sequence[RolloutScores], version: int) -> pa.Table:
    """Returns the rows of some rollouts.

    Args:
        indices: Of the requests of the batch's rollouts that were learnt from.
        scores: Of the first of them.
        version: The learner's when it scored them.
    """
    columns = {
        field.name: pa.array(
            [getattr(one, field.name) for one in scores], SCORES.field(field.name).type
        )
        for field in fields(RolloutScores)
    }
    columns["index"] = pa.array(list(indices[: len(scores)]), pa.int64())
    columns["update"] = pa.array([version] * len(scores), pa.int64())
    return pa.table([columns[name] for name in SCORES.names], schema=SCORES)
