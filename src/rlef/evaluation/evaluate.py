"""Evaluating a model on problems: episodes appended to a run folder, then numbers."""

from collections.abc import Callable, Sequence

from rlef.engines import HFEngine, SamplingParams
from rlef.engines.load import load_model, load_tokenizer, resolve_device
from rlef.environment import ChatFormat, EpisodeRecord, FeedbackOptions, Prompts, RewardConfig
from rlef.evaluation.stage import stage_summary
from rlef.problems import Problem
from rlef.rollout import EpisodeRequest, RolloutWorker, derive_seed
from rlef.rollout.records import episode_from_json, episode_to_json
from rlef.run import RunDamagedError, RunFolder
from rlef.sandbox import Limits, Sandbox
from rlef.sandbox.checkers import make_checker, make_json_checker
from rlef.sandbox.testlib import TESTLIB

_LINES = 5
"""Lines of progress per evaluation."""
EPISODES = "eval"
"""Name of the rollouts that ``rlef eval`` writes."""


def evaluate(
    *,
    model: str,
    problems: Sequence[Problem],
    run: RunFolder,
    turn_limit: int,
    samples: int,
    sampling: SamplingParams,
    seed: int,
    prompts: Prompts,
    device: str,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, object]:
    """Runs episodes on problems; those that the run folder already holds are not run again.

    Args:
        model: ``"mini"``, a folder or a hub id.
        problems: Those without public tests are left out, and said so.
        run: Gets the episodes as they end, in ``rollouts/eval.jsonl``, and ``summary.json``.
        turn_limit: Answers per episode at most.
        samples: Episodes per problem.
        sampling: How answers are drawn.
        seed: Of all draws.
        prompts: Templates.
        device: ``"auto"`` or a torch device.
        say: Receives lines of progress.

    Returns:
        See ``stage_summary``.

    Raises:
        ModelError, TemplateError, ValueError: The model or a number cannot be used.
        RunDamagedError: Episodes on disk cannot be read.
    """
    usable = with_public_tests(problems, say)
    where = resolve_device(device)
    chat = ChatFormat(load_tokenizer(model))
    engine = HFEngine(load_model(model, where), stop_token_ids=chat.stop_token_ids)
    with Sandbox(workers=2) as sandbox:
        worker = RolloutWorker(
            engine=engine,
            chat=chat,
            sandbox=sandbox,
            sampling=sampling,
            max_turns=turn_limit,
            max_context=engine.max_context,
            prompts=prompts,
            feedback=FeedbackOptions(),
            rewards=RewardConfig(),
            limits=Limits(),
            group_size=16,
        )
        records = run_episodes(worker, usable, samples, seed, run, EPISODES, say)
    result = stage_summary(records, turn_limit)
    run.write_summary(result)
    return result


def run_episodes(
    worker: RolloutWorker,
    problems: Sequence[Problem],
    samples: int,
    seed: int,
    run: RunFolder,
    name: str,
    say: Callable[[str], None],
) -> list[EpisodeRecord]:
    """Runs ``samples`` episodes per problem, except those that ``rollouts/NAME.jsonl`` has.

    The seed of an episode depends on ``seed``, its problem's place and its number alone, so two
    models evaluated with one seed get the same draws.

    Raises:
        RunDamagedError: Episodes on disk cannot be read.
    """
    found: dict[tuple[int, int], EpisodeRecord] = {}
    for record in run.read_rollouts(name):
        try:
            place = record["place"]
            if record["problem"] != problems[place].name:
                raise ValueError(f"{record['problem']!r} is not problem {place}")
            found[place, record["sample"]] = episode_from_json(record)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            path = run.rollout_path(name)
            raise RunDamagedError(f"{path} holds no episode of these problems: {error!r}") from None
    keys = [
        (place, sample)
        for sample in range(samples)
        for place in range(len(problems))
        if (place, sample) not in found
    ]
    requests = [
        EpisodeRequest(problem=problems[place], seed=derive_seed(derive_seed(seed, place), sample))
        for place, sample in keys
    ]
    total, solved = len(problems) * samples, sum(record.solved for record in found.values())
    for ended in worker.stream(requests):
        entries = []
        for i, rollout in ended:
            place, sample = keys[i]
            statement = problems[place].statement
            of = {"place": place, "sample": sample, "statement": statement}
            entries.append({**episode_to_json(rollout.record), **of})
            found[keys[i]] = rollout.record
            solved += rollout.record.solved
        run.append_rollouts(name, entries)
        if _LINES * len(found) // total > _LINES * (len(found) - len(ended)) // total:
            say(f"{name}: {len(found)}/{total} episodes, {100 * solved / len(found):.1f} % solved")
    return [found[key] for key in sorted(found)]


def with_public_tests(problems: Sequence[Problem], say: Callable[[str], None]) -> list[Problem]:
    """Returns the problems that an episode can be run on.

    Raises:
        ValueError: There is none, or one names a checker that does not exist.
    """
    for problem in problems:
        try:
            if problem.checker != TESTLIB:
                (make_json_checker if problem.mode == "function" else make_checker)(problem.checker)
        except ValueError as error:
            raise ValueError(f"problem {problem.name!r}: {error}") from None
    usable = [p for p in problems if p.public_tests and p.private_tests]
    if len(usable) < len(problems):
        say(f"{len(problems) - len(usable)} problems without public or private tests are left out")
    if not usable:
        raise ValueError("no problem has both public and private tests; nothing can be run")
    return usable
