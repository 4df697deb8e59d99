"""How much of a policy gradient is signal: gradients of chunks of one run's rollouts, compared.

The rollouts should be of the model itself: a training with ``learner.lr=1e-20``. Each chunk's
gradient is divided by the root mean square that plain rewards give each parameter. Signal is the
mean product of two chunks' gradients, noise what is left of their squares; "along" is the cosine of
the mean with that of rewards with the best baseline.

    rewards   rewards to go, whitened by number of the turn
    best      the same less the mean of like turns: ``critic_ceiling.py``
    later     ``rewards`` at turns 2 and 3 only
    contrast  ``rewards`` where the restated test moves the teacher by .5 nats or more
    teacher   towards the model behind the restated message (``learner.teacher``)
    guided    towards policy * (teacher with the test / without)

usage: python benchmarks/gradient_noise.py RUN MODEL [ROLLOUTS_OF_A_CHUNK [CHUNKS]]
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from critic_ceiling import Known, known_before, less_like_turns
from torch import Tensor

from rlef.engines.load import load_chat, load_model
from rlef.environment import ChatFormat, FeedbackOptions, Prompts
from rlef.environment.feedback import first_message
from rlef.environment.restated import restated_message
from rlef.learner.attention import read
from rlef.learner.head import OutputHead, body
from rlef.learner.models import Policy
from rlef.problems.mini.splits import load_specimens
from rlef.rollout import Rollout, RolloutBatch
from rlef.rollout.store import from_rows
from rlef.rollout.teacher import behind
from rlef.run.training import batch_paths

SPECIMENS = {one.problem.name: one for one in load_specimens("train")}
MAX_CONTEXT, MOST = 768, 8.0
"""Tokens of the recipe, and the largest log ratio that counts as evidence."""


def rollouts_of(run: Path) -> list[Rollout]:
    return [
        row.rollout
        for path in batch_paths(run / "rollouts/train")
        for rows in pq.read_table(path).to_batches()
        for row in from_rows(rows)
        if row.rollout.trainable
    ]


def logprobs(policy: Policy, batch: RolloutBatch) -> Iterator[tuple[Tensor, RolloutBatch, Tensor]]:
    """Yields rows of a batch, those rows, and all log-probabilities at their action tokens."""
    head = OutputHead.of(policy.model)
    for places in policy.lay_out(batch).groups(4096):
        rows = torch.tensor(places)
        part = batch.select(rows)
        packed = policy.lay_out(part)
        states = read(body(policy.model), packed).flatten(0, 1).index_select(0, packed.states)
        yield rows, part, (states.float() @ head.weight.float().T).log_softmax(-1)


@torch.no_grad()
def spoken(policy: Policy, answers: Sequence[Rollout]) -> list[Tensor]:
    """Returns (T, V) log-probabilities of each answer of one turn."""
    found: dict[int, Tensor] = {}
    for rows, part, all_of in logprobs(policy, RolloutBatch.from_rollouts(answers, 1)):
        counts = part.action_mask.sum(1).tolist()
        found |= dict(zip(rows.tolist(), all_of.split(counts), strict=True))
    return [found[i] for i in range(len(answers))]


def credit(rollouts: Sequence[Rollout]) -> tuple[list[Tensor], list[Tensor]]:
    """Returns advantages of each rollout's turns: by number of the turn, and by like turns."""
    known: list[Known] = []
    for rollout in rollouts:
        programs = [turn.program for turn in rollout.record.turns]
        known += known_before(SPECIMENS[rollout.record.problem], programs)
    returns = np.concatenate([rollout.rewards[::-1].cumsum()[::-1] for rollout in rollouts])
    lengths = [len(rollout.record.turns) for rollout in rollouts]

    def by(level: int) -> list[Tensor]:
        advantages = less_like_turns([groups[level] for groups in known], returns)
        return list(torch.tensor(advantages / advantages.std()).float().split(lengths))

    return by(0), by(-1)


def lessons_of(
    teacher: Policy, rollouts: Sequence[Rollout], chat: ChatFormat, prompts: Prompts
) -> dict[tuple[int, int], tuple[Tensor, Tensor]]:
    """Returns the teacher's log-probabilities with and without tests, by rollout and turn."""
    options = FeedbackOptions(max_chars=200)
    places, told, untold = [], [], []
    for row, rollout in enumerate(rollouts):
        problem = SPECIMENS[rollout.record.problem].problem.public
        for turn in range(1, len(rollout.prompt_ends)):
            message = restated_message(problem, rollout.record.turns[:turn], prompts, options)
            if message is None:
                continue
            answer = behind(rollout, turn, chat.prompt_ids(message))
            if len(answer.token_ids) <= MAX_CONTEXT:
                places.append((row, turn))
                told.append(answer)
                first = chat.prompt_ids(first_message(problem, prompts))
                untold.append(behind(rollout, turn, first))
    both = zip(spoken(teacher, told), spoken(teacher, untold), strict=True)
    return dict(zip(places, both, strict=True))


def gradients(
    policy: Policy,
    rollouts: Sequence[Rollout],
    plain: list[Tensor],
    best: list[Tensor],
    lessons: Mapping[tuple[int, int], tuple[Tensor, Tensor]],
) -> dict[str, Tensor]:
    """Returns what each estimator makes of a chunk, flat."""
    parameters = list(policy.model.parameters())
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
    for rows, part, now in logprobs(policy, RolloutBatch.from_rollouts(rollouts, 3)):
        turns, where = part.turn_ids[part.action_mask], part.action_mask.nonzero()[:, 0]
        sampled = part.token_ids[part.action_mask].long()[:, None]
        taught, guided = torch.zeros_like(now), torch.zeros_like(now)
        moved = torch.zeros(len(now))
        earned = torch.stack(
            [
                torch.stack([of[rows[i]][t] for i, t in zip(where, turns, strict=True)])
                for of in (plain, best)
            ]
        )
        for i, row in enumerate(rows.tolist()):
            for turn in (1, 2):
                if (row, turn) not in lessons:
                    continue
                with_test, without = lessons[row, turn]
                here, evidence = (where == i) & (turns == turn), with_test - without
                taught[here] = with_test.exp()
                guided[here] = (now.detach()[here] + evidence.clamp(-MOST, MOST)).softmax(-1)
                moved[here] = evidence.gather(1, sampled[here])[:, 0].abs()
        mine = now.gather(1, sampled)[:, 0]
        losses = {
            "rewards": earned[0] * mine,
            "best": earned[1] * mine,
            "later": earned[0] * mine * (turns > 0),
            "contrast": earned[0] * mine * (moved > 0.5),
            "teacher": (taught * now).sum(1),
            "guided": (guided * now).sum(1),
        }
        for name, loss in losses.items():
            found = torch.autograd.grad(loss.sum(), parameters, retain_graph=True)
            sums[name] = sums[name] + torch.cat([x.flatten() for x in found])
    return dict(sums)


def product(one: Tensor, other: Tensor) -> float:
    """Mean product of two chunks' gradients, never of one with itself."""
    products, count = one @ other.T, len(one)
    return float((products.sum() - products.diagonal().sum()) / (count * (count - 1)))


def main() -> None:
    run, name, *numbers = sys.argv[1:]
    size, most = (*map(int, numbers), *(64, 18)[len(numbers) :])
    rollouts = rollouts_of(Path(run))
    count = min(most, len(rollouts) // size)
    if count < 2:
        sys.exit(f"{run}: {len(rollouts)} rollouts; allowed: two chunks of {size} or more")
    policy, teacher = Policy(load_model(name, "cpu")), Policy(load_model("mini", "cpu"))
    chat, prompts = load_chat("mini"), Prompts.load("mini")
    plain, best = credit(rollouts)
    chunks = []
    for start in range(0, count * size, size):
        part = slice(start, start + size)
        lessons = lessons_of(teacher, rollouts[part], chat, prompts)
        chunks.append(gradients(policy, rollouts[part], plain[part], best[part], lessons))
    scale = torch.stack([chunk["rewards"] for chunk in chunks]).square().mean(0).sqrt()
    used = scale > 0
    of = {key: torch.stack([c[key][used] / scale[used] for c in chunks]) for key in chunks[0]}
    for key, found in of.items():
        signal, whole = product(found, found), float(found.square().sum(1).mean())
        lengths = max(signal * product(of["best"], of["best"]), 1e-30) ** 0.5
        along = product(found, of["best"]) / lengths
        print(f"{key} | signal to noise {signal / (whole - signal):.3f} | along {along:.2f}")


if __name__ == "__main__":
    main()
