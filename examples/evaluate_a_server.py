"""Evaluate a model behind any server with OpenAI's chat completions, with execution feedback.

usage: python examples/evaluate_a_server.py BASE_URL MODEL [SPEC]

A key, if the server wants one, is in OPENAI_API_KEY. On the command line the same is
rlef eval MODEL --engine openai --base-url BASE_URL --data SPEC; it also resumes and compares.
"""

import sys

from rlef.engines import SamplingParams, open_engine
from rlef.environment import Prompts
from rlef.evaluation import episode_statistics
from rlef.problems import load_problems
from rlef.rollout import EpisodeRequest, EpisodeSettings, LocalRollouts, derive_seed, run_requests
from rlef.sandbox import Sandbox

TURNS, SAMPLES = 3, 2


def main(base_url: str, model: str, spec: str) -> None:
    engine, chat = open_engine("openai", model, base_url=base_url, concurrency=8)
    settings = EpisodeSettings(
        sampling=SamplingParams(temperature=0.2, top_p=0.95, max_new_tokens=1024),
        max_turns=TURNS,
        max_context=None,  # the server says when a conversation is too long
        prompts=Prompts.load("default"),
    )
    requests = [
        EpisodeRequest(problem=problem, seed=derive_seed(0, place, sample))
        for place, problem in enumerate(load_problems(spec))
        for sample in range(SAMPLES)
    ]
    with Sandbox(workers=2) as sandbox, LocalRollouts(engine, chat, sandbox, settings) as rollouts:
        records = [rollout.record for rollout in run_requests(rollouts, requests)]
    engine.close()
    found = episode_statistics(records, TURNS, code_changes=False)
    for turn, rate in enumerate(found.solve_rate_by_turn, start=1):
        print(f"solved by turn {turn}: {rate:.1%}")
    print(f"repair rate: {found.repair_rate:.1%}; {found.infra_errors} not judged")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "mini:valid?first=5")
