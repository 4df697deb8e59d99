"""Which policy a word stands for, and what its run says of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rlef.report.card import Result
    from rlef.run import RunFolder


class Policy(NamedTuple):
    """A policy of a run, or any other model."""

    name: str
    """Its folder, or what the user called it."""
    run: "RunFolder | None" = None
    """The run that it is of."""
    update: int | None = None
    """Updates that it has behind it, if that is known."""
    is_final: bool = False
    """The run is finished, and its summary is of this policy."""


def find_policy(word: str, checkpoint: int | None = None) -> Policy:
    """Finds a policy: of a run its best, else its last; or a checkpoint; or any other model.

    Args:
        word: A run, a folder in its checkpoints, or a model.
        checkpoint: Of a run: the number of updates in place of that.

    Raises:
        RunError: There is no such checkpoint.
        RunDamagedError: A file of the run cannot be read.
    """
    from rlef.run import RunError, RunFolder

    run = RunFolder(word)
    if run.is_run():
        path = run.policy_path() if checkpoint is None else run.checkpoint_path(checkpoint)
        updates = [str(one.update) for one in run.checkpoints()]
        if path is None:
            raise RunError(f"{word} has no checkpoint yet; allowed: a run with one, or a model")
        if not path.is_dir():
            raise RunError(
                f"{word} has no checkpoint after {checkpoint} updates; allowed: "
                f"{', '.join(updates) or 'a run with checkpoints'}"
            )
        return _of_run(run, path, str(path))
    if checkpoint is not None:
        raise RunError(f"{word} is no run, so it has no checkpoint {checkpoint}; allowed: a run")
    path = Path(word)
    inside = RunFolder(path.absolute().parent.parent)
    if path.is_dir() and path.absolute().parent == inside.checkpoints_path and inside.is_run():
        return _of_run(inside, path.absolute(), word)
    return Policy(word)


def _of_run(run: "RunFolder", path: Path, name: str) -> Policy:
    from rlef.stored import read_metrics, read_summary

    summary = read_summary(run)
    update = next((one.update for one in run.checkpoints() if one.path == path), None)
    if path == run.best_path:
        rates = [(line.get("valid_solve_rate"), line["update"]) for line in read_metrics(run)]
        known = [(rate, at) for rate, at in rates if rate is not None]
        update = max(known, key=lambda one: (one[0], -one[1]))[1] if known else None
    final = run.best_path if run.best_path.is_dir() else None
    if final is None and summary is not None:
        final = run.checkpoint_path(int(summary.get("updates", -1)))
    return Policy(name, run, update, is_final=summary is not None and path == final)


def results_of_policy(policy: Policy, config: Mapping[str, Any]) -> "list[Result]":
    """What was measured of a policy: on the test problems, or on validation problems at its update.

    Raises:
        RunDamagedError: A file of the run cannot be read.
    """
    from rlef.evaluation.episodes import read_episodes
    from rlef.evaluation.stage import stage_summary
    from rlef.report.card import Result, results_of, setting
    from rlef.stored import read_summary

    run = policy.run
    if run is None:
        return []
    summary = read_summary(run)
    found = results_of(config, summary) if summary is not None and policy.is_final else []
    name = f"valid-{policy.update or 0:06d}"
    if policy.update is None or not run.has_rollouts(name):
        return found
    records = [record for record, _ in read_episodes(run, name)]
    limit = setting(config, "eval.turn_limit") or setting(config, "rollout.turn_limit") or 3
    problems = len({record.problem for record in records})
    top_p = setting(config, "eval.top_p")
    return [
        *found,
        Result(
            title=f"{problems} validation problems, by which the best policy is chosen",
            data=str(setting(config, "data.valid")),
            turn_limit=int(limit),
            sampling=f"temperature {setting(config, 'eval.temperature')}, top-p {top_p}",
            stages={"this model": stage_summary(records, int(limit))},
        ),
    ]
