"""Episodes of verifiers' environment with the mini model.

usage: python examples/integrations/verifiers_mini.py    in an environment with verifiers
From a shell, beside a server: docs/integrations/verifiers.md.
"""

import asyncio
from typing import Any

import mini_server
import verifiers.v1 as vf
from verifiers.v1.utils.loaders import resolve_env_config


async def play(url: str, problems: int, turns: int) -> list[Any]:
    data = f"mini:dev?first={problems}"
    # the one line by which others load it
    env = vf.load_environment(
        resolve_env_config({"taskset": {"id": "rlef-verifiers", "data": data}, "turns": turns})
    )
    client = vf.EvalClientConfig(base_url=url, api_key_var="HOME")  # any variable that is set
    model = vf.ModelContext(
        model="mini", client=client, sampling=vf.SamplingConfig(temperature=0.2)
    )
    async with env.serving():
        return await asyncio.gather(*(env.run_episode(task, model) for task in env.taskset))


def main(problems: int = 4, turns: int = 3) -> list[Any]:
    with mini_server.serving() as url:
        return asyncio.run(play(url, problems, turns))


if __name__ == "__main__":
    for episode in main():
        [trace] = episode.traces
        print(episode.task.key, f"reward {trace.reward:+.1f}", trace.metrics)
