"""GRPO of TRL on multi-turn episodes with the mini model: two steps on a CPU.

usage: python examples/integrations/trl_mini.py [OUT]    in an environment with TRL
"""

import sys
from pathlib import Path

import rlef_trl
from trl import GRPOConfig, GRPOTrainer

import rlef
from rlef.engines.load import load_tokenizer

MINI = Path(rlef.__file__).parent / "assets" / "mini"
DATA = "mini:train?first=8"


def main(out: str, steps: int = 2, turns: int = 3) -> GRPOTrainer:
    settings = GRPOConfig(
        output_dir=out,
        max_steps=steps,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=512,
        learning_rate=1e-5,
        temperature=1.0,
        use_cpu=True,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
    )
    trainer = GRPOTrainer(
        model=str(MINI),
        args=settings,
        train_dataset=rlef_trl.dataset(DATA),
        processing_class=load_tokenizer("mini"),
        reward_funcs=rlef_trl.episode_rewards,
        rollout_func=rlef_trl.episodes(DATA, max_turns=turns),
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    trainer = main(*(sys.argv[1:] or ["trl-mini"]))
    for line in trainer.state.log_history:
        print({name: value for name, value in line.items() if "rlef" in name or name == "reward"})
