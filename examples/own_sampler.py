"""An episode with a sampler of one's own: here a list of answers, elsewhere any model or server.

Needs no torch. usage: python examples/own_sampler.py
"""

from pathlib import Path

from rlef.environment import Episode, final_job, public_job, turn_rewards
from rlef.problems import load_problems
from rlef.sandbox import Sandbox

ANSWERS = iter(
    [
        "Sure, I can do that!",
        "```python\nprint(input().upper())\n```",
        "```python\nprint(input().upper() + '!')\n```",
    ]
)


def sample(message: str) -> str:
    """Takes the next message of the dialogue, gives an answer."""
    print(f"--- user\n{message}")
    answer = next(ANSWERS)
    print(f"--- assistant\n{answer}")
    return answer


def main() -> None:
    problems = load_problems(f"jsonl:{Path(__file__).parent / 'problems.jsonl'}")
    problem = next(problem for problem in problems if problem.name == "shout")
    with Sandbox(workers=1) as sandbox:
        episode = Episode(problem.public, max_turns=3)
        while not episode.done:
            program = episode.answer(sample(episode.next_message or ""))
            if program is not None:
                [report] = sandbox.judge_many([public_job(problem, program)])
                episode.observe(report)
        final = None
        if episode.last_program is not None:
            [final] = sandbox.judge_many([final_job(problem, episode.last_program)])
    record = episode.finish(final)
    print(f"--- {record.stop}, solved: {record.solved}, rewards by turn: {turn_rewards(record)}")


if __name__ == "__main__":
    main()
