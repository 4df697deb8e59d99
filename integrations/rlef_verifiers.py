"""RLEF in verifiers: a taskset, and the environment that plays its tasks as episodes.

    vf-eval rlef-verifiers --env.taskset.data mini:dev --env.turns 3 -m MODEL

Page: docs/integrations/verifiers.md.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import verifiers.v1 as vf
from openai import AsyncOpenAI
from verifiers.v1.dialects.chat import message_to_wire

from rlef.environment import (
    Episode,
    JudgedEpisode,
    NotJudgedError,
    episode_metrics,
    episode_reward,
    judged_record,
    problems_by_name,
    settle_soon,
)
from rlef.serve import shared_judge

__all__ = ["ChatHarness", "RLEFEnv", "RLEFTaskset"]
KEY = "rlef"
"""Where ``trace.info`` has the record of an episode."""


class RLEFData(vf.TaskData):
    """A row: it names its problem, and has no test."""

    data: str
    problem: str


class RLEFTask(vf.Task[RLEFData]):
    """Scores what ``RLEFEnv`` left on the trace."""

    @property
    def key(self) -> str:
        """The problem's name, which stays the same from run to run."""
        return f"{self.data.data}/{self.data.problem}"

    @vf.metric
    async def metrics(self, trace: vf.Trace) -> dict[str, float]:
        """See ``episode_metrics``."""
        return _judged(trace)["metrics"]

    @vf.reward
    async def episode_reward(self, trace: vf.Trace) -> float:
        """The sum of RLEF's rewards by turn."""
        return _judged(trace)["reward"]


def _judged(trace: vf.Trace) -> dict[str, Any]:
    """What was found; an error, which verifiers records and retries, where nothing was."""
    found: dict[str, Any] = trace.info.get(KEY, {})
    if "reward" not in found:
        raise NotJudgedError("the episode has not ended, or the judge could not do its work")
    return found


class RLEFConfig(vf.TasksetConfig):
    """Which problems."""

    data: str = "mini:dev"


class RLEFTaskset(vf.Taskset[RLEFTask, RLEFConfig]):
    """The problems of a specification."""

    def load(self) -> Iterator[RLEFTask]:
        """Makes a task of each problem."""
        for name, problem in problems_by_name(self.config.data).items():
            prompt = Episode(problem.public).first_message
            data = RLEFData(name=name, prompt=prompt, data=self.config.data, problem=name)
            yield RLEFTask(data, self.config.task)


class ChatHarness(vf.Harness[vf.HarnessConfig]):
    """Asks the model for one answer, in this process: there is no program to put in a box."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Sends the dialogue so far; the answer lands on the trace."""
        system, prompt = self.resolve_prompt(data)
        said = [{"role": "system", "content": system}] if system else []
        if isinstance(prompt, str):
            said.append({"role": "user", "content": prompt})
        else:
            said += [message_to_wire(message) for message in prompt or []]
        async with AsyncOpenAI(base_url=endpoint, api_key=secret) as client:
            await client.chat.completions.create(model=ctx.model, messages=said)  # type: ignore[arg-type]
        return vf.ProgramResult(0, "", "")


class RLEFEnvConfig(vf.EnvConfig):
    """Who answers, and how often."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())
    turns: int = 3
    """Answers at most."""


class RLEFEnv(vf.Env[RLEFEnvConfig]):
    """Answers, public tests, feedback, until they pass or the turns are used up."""

    async def run(self, task: vf.Task[Any], agents: vf.Agents) -> None:
        """Plays one episode."""
        turns = self.config.turns
        played = JudgedEpisode(problems_by_name(task.data.data)[task.data.problem], max_turns=turns)
        async with agents.agent.interaction(task) as talk:
            segment = await talk.turn()
            while not segment.terminated:
                played.answer(segment.last_reply)
                await settle_soon(played, shared_judge())
                if played.message is None:
                    break
                segment = await talk.turn(played.message)
            if played.record is None:
                return  # the run ended before the episode did
            talk.trace.info[KEY] = {"record": dataclasses.asdict(played.record)}
            if played.record.stop != "infra_error":
                record = judged_record(played)
                talk.trace.info[KEY] |= {
                    "reward": episode_reward(record),
                    "metrics": episode_metrics(record, turns),
                }
