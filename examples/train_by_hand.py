"""RLEF by hand: episodes, judge, sampler and PPO update, without the trainer.

    python examples/train_by_hand.py [BATCHES]

Trains the shipped mini model on batches of 32 episodes and prints what each came to. What
`rlef train` adds: evaluations, metrics in a file, checkpoints, a run that survives being killed.
"""

import sys
from random import Random

from rlef.engines import HFEngine, SamplingParams
from rlef.engines.load import load_chat, load_model, resolve_device
from rlef.environment import FeedbackOptions, Prompts
from rlef.learner.config import LearnerConfig
from rlef.learner.update import LocalLearner
from rlef.problems import load_problems
from rlef.rollout import (
    EpisodeRequest,
    EpisodeSettings,
    LocalRollouts,
    RolloutBatch,
    derive_seed,
    run_requests,
)
from rlef.sandbox import Sandbox

EPISODES, TURNS, STEPS, SEED = 32, 3, 4, 0


def main(batches: int) -> None:
    chat = load_chat("mini")
    model = load_model("mini", resolve_device("cpu"))
    engine = HFEngine(
        model, stop_token_ids=chat.stop_token_ids, max_context=768, max_batch=EPISODES
    )
    config = LearnerConfig(
        lr=4e-4, critic_lr=1e-3, beta=1.0, warmup_updates=STEPS, micro_batch_tokens=2048
    )
    learner = LocalLearner(model, config, SEED)
    settings = EpisodeSettings(
        sampling=SamplingParams(temperature=1.0, max_new_tokens=112),
        max_turns=TURNS,
        max_context=768,
        prompts=Prompts.load("mini"),
        feedback=FeedbackOptions(max_chars=200),
    )
    problems, draw = load_problems("mini:train"), Random(SEED)
    with Sandbox(workers=2) as sandbox, LocalRollouts(engine, chat, sandbox, settings) as rollouts:
        for number in range(1, batches + 1):
            # One episode: the model answers, public tests run, what failed is the next message;
            # after the last answer private tests give the reward.
            requests = [
                EpisodeRequest(problem=problem, seed=derive_seed(SEED, number, place))
                for place, problem in enumerate(draw.sample(problems, EPISODES))
            ]
            episodes = run_requests(rollouts, requests)
            # What the judge could not judge is neither right nor wrong: it is left out.
            batch = RolloutBatch.from_rollouts([e for e in episodes if e.trainable], TURNS)
            # A KL penalty in the reward, an advantage per turn from the critic, clipped steps.
            metrics = learner.update(batch, steps=STEPS)
            rollouts.use(learner.weights())  # the engine forgets what it remembers of older ones
            print(
                f"batch {number}: {sum(e.record.solved for e in episodes)} of {EPISODES} solved, "
                f"reward {metrics['reward']:.2f}, KL {metrics['kl']:.4f}, "
                f"{metrics['clipfrac']:.1%} of tokens clipped, "
                f"explained variance {metrics['explained_variance']:.2f}"
            )
    engine.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
