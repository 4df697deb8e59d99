"""A longer run from one that has an end: the policy, the critic and their optimizers go on."""

import re

from rlef.run import RunFolder

_LAST = re.compile(r"eval-(after|random)(-also)?")
"""Names of the evaluations of the last policy."""


def lengthen(run: RunFolder, updates: int, config: str) -> None:
    """Lets a run go on to more updates than it was begun for.

    What it came to stays, under names with the updates: ``summary-000200.json``,
    ``rollouts/eval-after-000200.jsonl``. Killed in between, the same call does the rest.

    Args:
        run: Finished or not; its lock is held by the caller.
        updates: For which it was begun.
        config: As YAML, which differs in nothing but ``updates``.
    """
    for name in run.rollout_names():
        if _LAST.fullmatch(name):
            run.rollout_path(name).rename(run.rollout_path(f"{name}-{updates:06d}"))
    if run.summary_path.is_file():
        run.summary_path.rename(run.path / f"summary-{updates:06d}.json")
    run.write_config(config)
