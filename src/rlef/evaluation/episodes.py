"""Episodes of an evaluation: run, appended to a run folder as they end, never run twice."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rlef.environment import EpisodeRecord, StopReason
from rlef.evaluation.progress import Progress, Tally
from rlef.problems import Problem, ProblemError
from rlef.problems.hashing import problem_hash
from rlef.rollout import EpisodeRequest, Rollouts, derive_seed
from rlef.rollout.records import episode_from_json, episode_to_json
from rlef.run import RunDamagedError, RunFolder
from rlef.sandbox.checkers import make_checker, make_json_checker
from rlef.sandbox.testlib import TESTLIB

WITHOUT_SAMPLE = "without_sample"
"""Key of a line that stands for the sample that a problem lacks: it counts as failed, but nobody
has written it."""
_WAIT_S = 1.0


def run_episodes(
    rollouts: Rollouts,
    problems: Sequence[Problem],
    samples: int,
    seed: int,
    run: RunFolder,
    name: str,
    show: Callable[[Progress], None],
    *,
    retry: bool = True,
) -> list[EpisodeRecord]:
    """Runs ``samples`` episodes per problem, except those that ``rollouts/NAME.jsonl`` has.

    Those among them that the judge failed at are run again, unless ``retry`` is false.

    The seed of an episode depends on ``seed``, its problem's place and its number alone, so two
    models evaluated with one seed get the same draws.

    Returns:
        The records by problem, then sample.

    Raises:
        RunDamagedError: Episodes on disk cannot be read, or are of other problems.
        EngineError: The engine cannot go on; what has ended is kept.
    """
    hashes = [problem_hash(problem) for problem in problems]
    if retry:
        forget_unjudged(run, name)
    found = _found(run, name, problems, hashes)
    keys = [
        (place, sample)
        for sample in range(samples)
        for place in range(len(problems))
        if (place, sample) not in found
    ]
    for index, (place, sample) in enumerate(keys):
        own = derive_seed(seed, "eval", place, sample)
        rollouts.submit(index, EpisodeRequest(problem=problems[place], seed=own))
    tally = Tally(name, len(problems) * samples)

    def outcomes(ended: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int | None]]:
        """Places in the order in which episodes begin: all problems once, then again."""
        for place, sample in ended:
            yield sample * len(problems) + place, outcome_of(found[place, sample])

    tally.add(outcomes(found), new=False)
    show(tally.progress())
    started, session = time.perf_counter(), f"{time.time():.3f}"
    left = len(keys)
    while left:
        ended = rollouts.finished(_WAIT_S)
        left -= len(ended)
        entries = []
        for i, rollout in ended:
            place, sample = keys[i]
            problem = problems[place]
            of = {"place": place, "sample": sample, "problem_hash": hashes[place]}
            of |= {"statement": problem.statement, "session": session}
            of["wall_s"] = round(time.perf_counter() - started, 3)
            entries.append({**episode_to_json(rollout.record), **of})
            found[keys[i]] = rollout.record
        if not ended:
            continue
        run.append_rollouts(name, entries)
        tally.add(outcomes(keys[i] for i, _ in ended))
        show(tally.progress())
    return [found[key] for key in sorted(found)]


def outcome_of(record: EpisodeRecord) -> int | None:
    """The turn at which an episode was solved, 0 if it was not; ``None``: an infrastructure error.

    A blind episode counts as one turn: nobody knows when it would have been solved.
    """
    if record.stop is StopReason.INFRA_ERROR:
        return None
    return (1 if record.blind else len(record.turns)) if record.solved else 0


def read_episodes(run: RunFolder, name: str) -> list[tuple[EpisodeRecord, Mapping[str, Any]]]:
    """The episodes of a run folder, each with all that stands beside it.

    Raises:
        RunDamagedError: One cannot be read.
    """
    path = run.rollout_path(name)
    found: list[tuple[EpisodeRecord, Mapping[str, Any]]] = []
    for number, entry in enumerate(run.read_rollouts(name), start=1):
        try:
            found.append((episode_from_json(entry), entry))
        except ValueError as error:
            raise RunDamagedError(f"{path}:{number} is damaged: {error}") from None
        wall_s = entry.get("wall_s")
        if wall_s is not None and type(wall_s) not in (int, float):
            raise RunDamagedError(f"{path}:{number} is damaged: wall_s must be a number")
    return found


def total_wall_s(run: RunFolder, name: str) -> float:
    """Seconds that all processes together took for the episodes of a run folder."""
    latest: dict[str, float] = {}
    for _, entry in read_episodes(run, name):
        session = str(entry.get("session"))
        latest[session] = max(latest.get(session, 0.0), float(entry.get("wall_s") or 0.0))
    return sum(latest.values())


def forget_unjudged(run: RunFolder, name: str) -> None:
    """Drops episodes that the judge failed at: it may not now. For who holds the run's lock.

    Raises:
        RunDamagedError: An episode cannot be read.
    """
    run.keep_rollouts(name, lambda entry: entry.get("stop") != StopReason.INFRA_ERROR)


def _found(
    run: RunFolder, name: str, problems: Sequence[Problem], hashes: Sequence[str]
) -> dict[tuple[int, int], EpisodeRecord]:
    found: dict[tuple[int, int], EpisodeRecord] = {}
    path = run.rollout_path(name)
    for number, (record, entry) in enumerate(read_episodes(run, name), start=1):
        place, sample = entry.get("place"), entry.get("sample")
        if type(place) is not int or type(sample) is not int:
            raise RunDamagedError(f"{path}:{number} is damaged: place or sample is no number")
        allowed = "allowed: the same problems again, or another folder"
        if not 0 <= place < len(problems) or problems[place].name != record.problem:
            raise RunDamagedError(
                f"{path}:{number} is of problem {record.problem!r}, which is not number {place} of "
                f"these {len(problems)}; {allowed}"
            )
        if entry.get("problem_hash") not in (None, hashes[place]):
            raise RunDamagedError(
                f"{path}:{number}: problem {record.problem!r} had another statement, other tests "
                f"or limits then; {allowed}"
            )
        found[place, sample] = record
    return found


def with_public_tests(
    problems: Sequence[Problem], say: Callable[[str], None], where: str
) -> list[Problem]:
    """Returns the problems that an episode can be run on.

    Args:
        problems: Some.
        say: Hears how many are left out.
        where: They are from, as a user knows it.

    Raises:
        ProblemError: There is none.
        ValueError: One names a checker that does not exist.
    """
    for problem in problems:
        try:
            if problem.checker != TESTLIB:
                (make_json_checker if problem.mode == "function" else make_checker)(problem.checker)
        except ValueError as error:
            raise ValueError(f"problem {problem.name!r}: {error}") from None
    usable = [p for p in problems if p.public_tests and p.private_tests]
    if usable and len(usable) < len(problems):
        count = len(problems) - len(usable)
        has, is_ = ("has", "is") if count == 1 else ("have", "are")
        say(
            f"{count} of {len(problems)} problems {has} no public or no private tests and {is_} "
            "left out"
        )
    if not usable:
        raise ProblemError(
            f"{where}: no problem has both public and private tests, so no episode can be run; "
            "allowed: problems of which some have both (rlef data check says what they have)"
        )
    return usable
