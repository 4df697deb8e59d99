"""An evaluation by inspect_ai of the mini model, with feedback between its turns.

usage: python examples/integrations/inspect_mini.py [LOGS]    in an environment with inspect_ai
Then: inspect view --log-dir LOGS
"""

import sys

import mini_server
import rlef_inspect
from inspect_ai import eval
from inspect_ai.log import EvalLog
from inspect_ai.model import get_model


def main(logs: str, problems: int = 4, turns: int = 3) -> EvalLog:
    task = rlef_inspect.rlef(data=f"mini:dev?first={problems}", turns=turns)
    with mini_server.serving() as url:
        model = get_model("openai-api/rlef/mini", base_url=url, api_key="none")
        [log] = eval(task, model=model, log_dir=logs, display="none", temperature=0.2)
    return log


if __name__ == "__main__":
    log = main(*(sys.argv[1:] or ["logs"]))
    for score in log.results.scores if log.results else []:
        print(score.name, {name: round(metric.value, 3) for name, metric in score.metrics.items()})
