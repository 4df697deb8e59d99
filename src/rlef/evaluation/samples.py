"""Judging recorded samples, ours or another system's."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlef.environment import EpisodeRecord, StopReason, TurnRecord, final_job
from rlef.evaluation.episodes import (
    WITHOUT_SAMPLE,
    forget_unjudged,
    outcome_of,
    read_episodes,
    total_wall_s,
)
from rlef.evaluation.progress import Progress, Tally
from rlef.evaluation.results import write_results
from rlef.evaluation.sample_files import (
    Sample,
    SampleFile,
    check_metrics,
    read_sample_file,
    read_samples,
)
from rlef.evaluation.sample_forms import SamplesError
from rlef.evaluation.specs import MetricSpec
from rlef.problems import Problem
from rlef.problems.hashing import problem_hash
from rlef.rollout.records import episode_to_json
from rlef.run import RunDamagedError, RunFolder
from rlef.sandbox import JudgeReport, Verdict, usable_cores
from rlef.serve import open_judge
from rlef.stored import EPISODES

_WRITE_EVERY_S = 0.25
"""Reports that come within this time are written together."""
_NAMES = 3

__all__ = [
    "Coverage",
    "Sample",
    "SampleFile",
    "SamplesError",
    "check_metrics",
    "judge_samples",
    "read_sample_file",
    "read_samples",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a file of samples holds of the problems."""

    problems: int
    without_sample: tuple[str, ...]
    """Names of problems that no sample is of."""
    counted_as_failed: bool
    """Whether these count as failed; else metrics leave them out."""
    samples: int
    """Samples of these problems."""
    most: int
    """Samples of the problem that has the most."""
    fewest: int
    """Samples of the problem that has the fewest, of those with any."""
    of_others: int
    """Samples left out since they are of none of these problems."""
    repeated: int
    """Samples whose problem has the same text before."""
    from_markdown: int
    """Samples whose program was taken from Markdown."""
    cut: int
    """Samples cut at a special token."""

    def notes(self) -> list[str]:
        """One sentence for each thing that a reader of the numbers must know."""
        found = []
        if self.without_sample:
            names = ", ".join(self.without_sample[:_NAMES])
            more = ", ..." if len(self.without_sample) > _NAMES else ""
            how = "count as failed" if self.counted_as_failed else "are left out of all numbers"
            found.append(
                f"{len(self.without_sample)} of {self.problems} problems have no sample and {how}: "
                f"{names}{more}"
            )
        if self.of_others:
            total = self.samples + self.of_others
            found.append(
                f"{self.of_others} of {total} samples are of other problems than these "
                f"{self.problems} and are left out"
            )
        if self.fewest < self.most:
            found.append(f"problems have from {self.fewest} to {self.most} samples")
        for count, what in (
            (self.repeated, "repeat another one of their problem word for word"),
            (self.from_markdown, "are Markdown; judged is the program in it"),
            (self.cut, "go on with a special token such as <|im_end|>; they were cut there"),
        ):
            if count:
                found.append(f"{count} of {self.samples} samples {what}")
        return found


def judge_samples(
    samples: Sequence[Sample],
    problems: Sequence[Problem],
    run: RunFolder,
    metrics: Sequence[MetricSpec],
    *,
    name: str,
    data: str,
    missing_failed: bool = False,
    judge_url: str | None = None,
    notes: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Progress], None] = lambda _: None,
) -> dict[str, object]:
    """Judges samples on all tests of their problems; those that the run folder has, not again.

    Those of them that the judge failed at are judged again.

    A sample counts as an episode of one turn. It has passed the public tests if its first failure,
    if any, is on a private one.

    Args:
        samples: From ``read_samples``. Those of none of the problems are left out.
        problems: All that the numbers are to be of. What the samples miss of them is said, and
            stands in the summary as ``samples``, see ``Coverage``.
        run: Gets each report as it comes, in ``rollouts/eval.jsonl``, then what
            ``write_results`` writes.
        metrics: What to measure.
        name: Of the samples, in tables.
        data: Specification of the problems.
        missing_failed: Count problems without a sample as failed; the folder then has episodes of
            them too.
        judge_url: Of the judge, see ``open_judge``; ``None``: here.
        notes: What is to be said of the file beside that, see ``SampleFile``.
        say: Receives lines for the user.
        show: Hears of every step.

    Returns:
        See ``write_results``.

    Raises:
        SamplesError: A metric draws more samples than a problem has; nothing has been judged then.
        RunDamagedError: Reports on disk are not of these samples.
        SandboxError: This machine cannot run programs safely.
    """
    check_metrics(samples, problems, metrics)
    samples, coverage = _covered(samples, problems, missing_failed)
    notes = [*notes, *coverage.notes()]
    for note in notes:
        say(note)
    hashes = {problem.name: problem_hash(problem) for problem in problems}
    forget_unjudged(run, EPISODES)
    found = _found(run, samples, hashes)
    todo = [place for place in range(len(samples)) if place not in found]
    tally = Tally(EPISODES, len(samples))
    tally.add(((place, outcome_of(found[place])) for place in found), new=False)
    show(tally.progress())
    started, session = time.perf_counter(), f"{time.time():.3f}"
    jobs = (final_job(samples[place].problem, samples[place].program) for place in todo)
    with open_judge(judge_url, usable_cores()) as sandbox:
        waiting: list[dict[str, Any]] = []
        written = time.perf_counter()
        try:
            for i, report in sandbox.judge_stream(jobs):
                place = todo[i]
                sample = samples[place]
                record = _record(sample, report)
                found[place] = record
                tally.add([(place, outcome_of(record))])
                waiting.append(
                    {
                        **episode_to_json(record),
                        "place": place,
                        "sample_hash": _sample_hash(sample, hashes),
                        "problem_hash": hashes[sample.problem.name],
                        "statement": sample.problem.statement,
                        "session": session,
                        "wall_s": round(time.perf_counter() - started, 3),
                    }
                )
                if time.perf_counter() - written >= _WRITE_EVERY_S:
                    run.append_rollouts(EPISODES, waiting)
                    waiting, written = [], time.perf_counter()
                    show(tally.progress())
        finally:
            if waiting:
                run.append_rollouts(EPISODES, waiting)
    if todo:
        show(tally.progress())
    missing = [p for p in problems if missing_failed and p.name in coverage.without_sample]
    failed = _write_failed(run, missing, coverage.most, hashes)
    return write_results(
        run,
        [found[place] for place in range(len(samples))],
        metrics,
        model=name,
        data=data,
        turn_limit=1,
        wall_s=total_wall_s(run, EPISODES),
        problems=problems,
        notes=notes,
        without_sample=failed,
        more={"samples": asdict(coverage)},
    )


def _covered(
    samples: Sequence[Sample], problems: Sequence[Problem], missing_failed: bool
) -> tuple[list[Sample], Coverage]:
    names = {problem.name for problem in problems}
    ours = [sample for sample in samples if sample.problem.name in names]
    counts = Counter(sample.problem.name for sample in ours)
    return ours, Coverage(
        problems=len(problems),
        without_sample=tuple(p.name for p in problems if p.name not in counts),
        counted_as_failed=missing_failed,
        samples=len(ours),
        most=max(counts.values()),
        fewest=min(counts.values()),
        of_others=len(samples) - len(ours),
        repeated=len(ours) - len({(sample.problem.name, sample.text) for sample in ours}),
        from_markdown=sum(sample.from_markdown for sample in ours),
        cut=sum(sample.cut for sample in ours),
    )


def _failed(problem: Problem) -> EpisodeRecord:
    """What stands for the sample that a problem does not have."""
    turn = TurnRecord(response="", program=None, public_verdicts=(), feedback=None)
    return EpisodeRecord(
        problem=problem.name,
        family=problem.family,
        hidden_detail=problem.hidden_detail,
        turns=(turn,),
        stop=StopReason.TURN_LIMIT,
        solved=False,
        final_verdict=None,
    )


def _record(sample: Sample, report: JudgeReport) -> EpisodeRecord:
    count = len(sample.problem.public_tests)
    public = tuple(test.verdict for test in report.tests[:count])
    passed_public = len(public) == count and all(verdict is Verdict.AC for verdict in public)
    turn = TurnRecord(
        response=sample.text, program=sample.program, public_verdicts=public, feedback=None
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


def _write_failed(
    run: RunFolder, problems: Sequence[Problem], count: int, hashes: Mapping[str, str]
) -> list[EpisodeRecord]:
    """Writes so many failed episodes of each problem, in place of those that were written before.

    These were others where the file of samples has grown.
    """
    wanted = [problem for problem in problems for _ in range(count)]
    records = [_failed(problem) for problem in wanted]
    there = [entry for entry in run.read_rollouts(EPISODES) if WITHOUT_SAMPLE in entry]
    names = [(problem.name, hashes[problem.name]) for problem in wanted]
    if [(entry.get("problem"), entry.get("problem_hash")) for entry in there] == names:
        return records
    run.keep_rollouts(EPISODES, lambda entry: WITHOUT_SAMPLE not in entry)
    lines = [
        {
            **episode_to_json(record),
            WITHOUT_SAMPLE: True,
            "problem_hash": hashes[problem.name],
            "statement": problem.statement,
        }
        for problem, record in zip(wanted, records, strict=True)
    ]
    run.append_rollouts(EPISODES, lines)
    return records


def _found(
    run: RunFolder, samples: Sequence[Sample], hashes: dict[str, str]
) -> dict[int, EpisodeRecord]:
    found: dict[int, EpisodeRecord] = {}
    path = run.rollout_path(EPISODES)
    for number, (record, entry) in enumerate(read_episodes(run, EPISODES), start=1):
        if WITHOUT_SAMPLE in entry:
            continue
        place = entry.get("place", -1)
        known = isinstance(place, int) and 0 <= place < len(samples)
        if not known or entry.get("sample_hash") != _sample_hash(samples[place], hashes):
            raise RunDamagedError(
                f"{path}:{number} is of another sample than these; allowed: the same files again, "
                "or another folder"
            )
        found[place] = record
    return found
