import math
import random
from typing import Any


def make_summary(seed: int = 0, after: float = 0.635) -> dict[str, Any]:
    def estimate(mean: float, half: float) -> dict[str, float]:
        return {"mean": mean, "low": mean - half, "high": mean + half}

    def stage(rates: list[float], repair: float) -> dict[str, Any]:
        return {
            "solve": estimate(rates[-1], 0.03),
            "solve_rate_by_turn": [estimate(rate, 0.03) for rate in rates],
            "repair_rate": estimate(repair, 0.02),
            "hidden": {"solve": estimate(rates[-1] / 2, 0.04), "repair_rate": estimate(0.5, 0.04)},
            "statistics": {"episodes": 500, "error_types_by_turn": [{"RE": 3, "WA": 9}, {}]},
        }

    return {
        "recipe": "mini",
        "seed": seed,
        "updates": 120,
        "wall_s": 700.4,
        "parameters": 5_120_000,
        "temperature": 0.2,
        "top_p": 0.95,
        "turn_limit": 3,
        "test_problems": 500,
        "samples_per_problem": 1,
        "before": stage([0.240, 0.290, 0.312], 0.096),
        "after": stage([0.381, 0.560, after], 0.413),
        "random_feedback": stage([0.379, 0.395, 0.402], 0.02),
        "gain": {"mean": after - 0.312, "low": after - 0.352, "high": after - 0.272},
        "timing_s": {"generate": 300.0, "judge": 200.0, "update": 180.0},
        "masked_infra": 12,
    }


def make_metrics(update: int, draw: random.Random) -> dict[str, Any]:
    progress = 1 - math.exp(-update / 40)
    first = 0.24 + 0.14 * progress + draw.gauss(0, 0.025)
    last = 0.31 + 0.32 * progress + draw.gauss(0, 0.025)
    return {
        "update": update,
        "solve_rate": last,
        "solve_rate/turn_1": first,
        "solve_rate/turn_2": (first + last) / 2,
        "solve_rate/turn_3": last,
        "repair_rate": 0.10 + 0.3 * progress + draw.gauss(0, 0.03),
        "kl": 0.03 * progress + draw.gauss(0, 0.002),
        "entropy": 0.5 - 0.25 * progress + draw.gauss(0, 0.015),
        "explained_variance": math.nan if update == 3 else 0.6 - 3 * math.exp(-update / 4),
        "clipfrac": 0.05,
        "reward": 2 * last - 1,
    }


def make_rollout(problem: str, solved: bool, turns: int) -> dict[str, Any]:
    program = 'print("<b>& x")'
    return {
        "problem": problem,
        "family": "strings",
        "hidden_detail": "rounding",
        "turns": [
            {
                "response": f"```python\n{program}\n```<script>alert(1)</script>",
                "program": program,
                "public_verdicts": ["AC"] if solved and t == turns - 1 else ["AC", "WA"],
                "feedback": None if t == turns - 1 else "Test 2: expected <3>, got \ud800",
                "prompt_tokens": None,
                "completion_tokens": None,
            }
            for t in range(turns)
        ],
        "stop": "public_passed" if solved else "turn_limit",
        "solved": solved,
        "final_verdict": "AC" if solved else "WA",
        "passed_share": None,
        "blind": False,
    }
