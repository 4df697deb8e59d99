"""RLEF in inspect_ai: a task with its solver and scorer.

    inspect eval integrations/rlef_inspect.py --model ... -T data=mini:dev -T turns=3

Page: docs/integrations/inspect.md.
"""

import dataclasses

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from rlef.environment import (
    Episode,
    JudgedEpisode,
    NotJudgedError,
    episode_metrics,
    judged_record,
    problems_by_name,
    settle_soon,
)
from rlef.serve import shared_judge

KEY = "rlef"
"""Where the store of a sample has the record of its episode, and its metrics."""


@task
def rlef(data: str = "mini:dev", turns: int = 3) -> Task:
    """Episodes with execution feedback; a sample names its problem, and has no private test."""
    samples = [
        Sample(
            id=name,
            input=Episode(problem.public).first_message,
            metadata={"data": data, "problem": name},
        )
        for name, problem in problems_by_name(data).items()
    ]
    return Task(dataset=MemoryDataset(samples, name=data), solver=episode(turns), scorer=tests())


@solver
def episode(turns: int = 3) -> Solver:
    """Answers, public tests, feedback, until they pass or the turns are used up."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        played = _start(state, turns)
        try:
            while True:
                state = await generate(state)
                played.answer(state.output.completion)
                await settle_soon(played, shared_judge())
                if played.message is None:
                    return state
                state.messages.append(ChatMessageUser(content=played.message))
        finally:  # a limit of inspect's (messages, tokens, time) may have cut it off
            if played.message is not None:
                played.stop_for_context_limit()
            _keep(state, played, turns)

    return solve


@scorer(metrics={"*": [mean(), stderr()]})
def tests() -> Scorer:
    """All tests, private ones too; alone it judges the last answer of any other solver."""

    async def score(state: TaskState, target: Target) -> Score:
        if state.store.get(KEY) is None:
            single = _start(state, 1)
            single.answer(state.output.completion)
            await settle_soon(single, shared_judge())
            _keep(state, single, 1)
        record, metrics = state.store.get(KEY)
        turn = record["turns"][-1] if record and record["turns"] else None
        answer = turn and (turn["program"] or turn["response"])
        said = {"answer": answer, "metadata": {"rlef": record}}
        if metrics is None:
            why = "the judge could not do its work"
            return Score.unscored(reason="scoring_failed", explanation=why, **said)
        verdict = record["final_verdict"] or (turn and ", ".join(turn["public_verdicts"]))
        return Score(value=metrics, explanation=verdict or "no program", **said)

    return score


def _start(state: TaskState, turns: int) -> JudgedEpisode:
    problem = problems_by_name(state.metadata["data"])[state.metadata["problem"]]
    return JudgedEpisode(problem, max_turns=turns)


def _keep(state: TaskState, played: JudgedEpisode, turns: int) -> None:
    """Keeps record and metrics: no record if it ended while it was judged, then no metrics."""
    record = played.record and dataclasses.asdict(played.record)
    try:
        metrics = episode_metrics(judged_record(played), turns) if record else None
    except NotJudgedError:
        metrics = None
    state.store.set(KEY, (record, metrics))
