"""Single answers of the mini model, by lm_eval.

usage: python examples/integrations/lm_eval_mini.py    in an environment with lm_eval
"""

from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager

import rlef

ROOT = Path(__file__).parents[2]
MINI = Path(rlef.__file__).parent / "assets" / "mini"


def main(problems: int = 4) -> dict[str, Any]:
    metadata = {"data": f"mini:dev?first={problems}"}
    tasks = TaskManager(include_path=str(ROOT / "integrations"), metadata=metadata)
    found: dict[str, Any] = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(MINI), "device": "cpu", "dtype": "float32"},
        tasks=["rlef"],
        task_manager=tasks,
        apply_chat_template=True,
        gen_kwargs={"max_gen_toks": 96},
        metadata=metadata,
    )
    return found


if __name__ == "__main__":
    print(main()["results"]["rlef"])
