"""Supervised fine-tuning on solved rollouts: what RLEF is compared with (section 3.3)."""

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from rlef.algorithms import approx_kl, sft_loss
from rlef.learner.advantages import describe
from rlef.learner.config import LearnerConfig
from rlef.learner.service import Metrics
from rlef.learner.step_log import StepLog
from rlef.learner.update import LocalLearner
from rlef.rollout import RolloutBatch
from rlef.rollout.teacher import TeacherBatch


class ImitationLearner(LocalLearner):
    """Imitates the last answers of solved rollouts (rejection sampling): a ``Learner``.

    Rollouts of the policy as it learns make it iterated; those of the model as it was at first make
    it the paper's (there of the 70B model).

    Args:
        config: Of it count the optimizer's settings, ``minibatch``, ``micro_batch_tokens``,
            ``precision``, ``gradient_checkpointing`` and ``lora``.
        words: The other arguments of ``LocalLearner``.
    """

    def __init__(
        self, model: PreTrainedModel, config: LearnerConfig, seed: int, **words: Any
    ) -> None:
        no_other = {"advantage": "reinforce++", "kl": "none", "critic_warmup_updates": 0}
        no_other |= {"teacher": None, "replay": None}
        super().__init__(model, config.model_copy(update=no_other), seed, **words)

    def update(
        self,
        batch: RolloutBatch,
        steps: int,
        lessons: TeacherBatch | None = None,
        replay: RolloutBatch | None = None,
    ) -> Metrics:
        """Takes a step for each minibatch that holds a solved rollout; metrics as of the base."""
        batch = batch.to("cpu")
        scored = self.score(batch)
        self.keep_scores(batch, scored)
        metrics, _ = describe(self.config, batch, scored, None, self.version)
        wanted = imitated_tokens(batch)
        log, end = StepLog(self.ranks), self.version + steps
        self.policy_moved = False
        for minibatch in self.minibatches(batch, steps):
            log.begin()
            count = wanted[minibatch.rows].sum()
            if count > 0:
                for part, old, packed in self.parts(batch, scored, minibatch, self.policy):
                    with self.autocast():
                        now = self.policy(part, packed).logprobs
                    loss = sft_loss(now, imitated_tokens(part), count)
                    loss.backward()  # type: ignore[no-untyped-call]
                    moved = approx_kl(now, old.old_logprobs, part.action_mask, minibatch.tokens)
                    log.add({"loss/policy": loss, "approx_kl": moved})
                log.read()
                norm = self.policy_descent.step(self.version)
                log.took_step("policy", norm)
                self.policy_moved |= bool(norm)
            self.version += 1
        self.version = end
        return metrics | log.means() | {"bfloat16": float(self.precision == "bfloat16")}


def imitated_tokens(batch: RolloutBatch) -> Tensor:
    """The last answers of solved rollouts, (B, L) bool."""
    last = batch.turn_mask.sum(1, keepdim=True) - 1
    return batch.action_mask & (batch.turn_ids == last) & batch.solved[:, None]
